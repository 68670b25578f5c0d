import { basename, join } from 'node:path';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { candidateName } from '../host/temporary.js';
import { target } from '../model/layout.js';
import type { RunReceipt } from '../model/run-receipt.js';
import type { Reporter, Step } from '../report.js';
import { inStep } from '../report.js';
import { digestOf } from '../review/receipt-chain.js';
import { validate } from './configuration.js';
import type { Audit } from './audit.js';
import type { Journal } from './journal.js';
import { openJournal } from './journal.js';
import { dropOldBuilds } from './old-builds.js';
import type { Kept } from './kept-aside.js';
import { keepAside, readKept } from './kept-aside.js';
import type { Receipt } from './receipt.js';
import { describeOccupant, rpmAtWork } from './rpm-locks.js';
import { undoPlanToJson } from './render-undo.js';
import { checkServices } from './steps/check.js';
import { takeBack } from './take-back.js';
import type { Undo } from './undo-merge.js';
import type { FilePlan, UndoPlan } from './undo-plan.js';
import { planUndo } from './undo-plan.js';

/** What `rollback` and `uninstall` are both given. */
export interface UndoRequest {
  /** Folders with the RPMs of replaced packages. */
  readonly oldRpms: readonly string[];
  readonly dryRun: boolean;
  readonly reporter: Reporter;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly runId: string;
  readonly interrupted: () => boolean;
  /** Keeps the record of this run. */
  readonly audit?: Audit;
  /** Shows the plan and asks; false: nothing is done. */
  readonly confirm: (undo: Undo, plan: UndoPlan) => Promise<boolean>;
}

export interface UndoResult {
  readonly outcome: 'taken-back' | 'unchanged' | 'planned' | 'declined';
  readonly undo: Undo;
  readonly plan: UndoPlan;
  readonly receipt: Receipt | undefined;
  /** What people had changed by hand. */
  readonly kept: readonly Kept[];
  /** What stays, and why. */
  readonly warnings: readonly string[];
}

export interface UndoRun {
  readonly kind: 'rollback' | 'uninstall';
  readonly undo: Undo;
  /** The run of an earlier try that was ended half way. */
  readonly resumes: string | undefined;
  /** What is typed to go on with it. */
  readonly command: string;
  /** When everything is back: what is committed now. */
  readonly commit: (journal: Journal) => Promise<void>;
}

/**
 * plan → confirm → test the old configuration → take back → commit → check.
 * @throws BundleError exit 5 before any change, 6 after
 */
export async function runUndo(host: Host, request: UndoRequest, run: UndoRun): Promise<UndoResult> {
  const { undo } = run;
  const stage = join(target.stage, request.runId);
  try {
    await host.makeDirectory(stage, { mode: 0o700 });
    const oldRpms = await stageOldRpms(host, request.oldRpms, stage);
    const plan = await inStep(request.reporter, 'probe', 'look at this node', async (step) => {
      const { added, replaced } = undo.packages;
      if (added.length + replaced.length > 0) await requireNoRpm(host, request, step);
      return planUndo(host, undo, { oldRpms, resumed: run.resumes !== undefined });
    });
    const result = { undo, plan, receipt: undo.current, kept: [], warnings: [] };
    const agreed = await request.confirm(undo, plan);
    if (request.dryRun) return { ...result, outcome: 'planned' };
    if (!agreed) return { ...result, outcome: 'declined' };
    await requireValid(host, undo, plan, stage, request.reporter);
    await dropOldBuilds(host);

    request.audit?.note({
      bundle: bundleBefore(undo),
      planDigest: digestOf(Buffer.from(JSON.stringify(undoPlanToJson(undo, plan)))),
    });
    await request.audit?.begin(undo.units.map(({ unit }) => unit));
    const journal = openJournal(host, request.runId);
    const before = run.resumes === undefined ? [] : await readKept(host, run.resumes);
    await journal.record({
      event: 'begin',
      kind: run.kind,
      digest: undo.receipt?.digest ?? null,
      undoes: undo.runs.map((one) => one.run),
      to: undo.receipt?.run ?? null,
    });
    const kept = keepAside(host, request.runId, before);
    const warnings = await takeBack(host, {
      ...request,
      undo,
      plan,
      resumed: run.resumes !== undefined,
      kept,
      journal,
      command: run.command,
    });
    await run.commit(journal);
    return { outcome: 'taken-back', undo, plan, receipt: undo.receipt, kept: kept.all(), warnings };
  } finally {
    await host.remove(stage).catch(() => undefined);
  }
}

const LOCK_WAIT_MS = 10 * 60_000;
const LOCK_POLL_MS = 1000;

/**
 * The rpm of a run that was killed goes on alone: what it still puts in would be missing in the plan.
 * @throws BundleError exit 5 when another rpm or yum does not end
 */
async function requireNoRpm(
  host: Host,
  { interrupted }: Pick<UndoRequest, 'interrupted'>,
  step: Step,
): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    const occupant = await rpmAtWork(host);
    if (occupant === undefined) return;
    if (waitedMs >= LOCK_WAIT_MS || interrupted())
      throw refusedError({
        code: 'RPM_BUSY',
        message: `another rpm or yum is at work: ${describeOccupant(occupant)}; it was waited for ${String(Math.round(waitedMs / 1000))} s`,
        hint: `Nothing was changed. Let it end, or end it, then run the same command again. See: ps -fp ${String(occupant.pid)}`,
      });
    step.note(`waiting for ${describeOccupant(occupant)} to end`);
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}

/** What a record says was there before. */
function bundleBefore({ current }: Undo): RunReceipt['bundle'] {
  if (current === undefined) return null;
  const { name, version, sequence } = current.contents;
  return { name, version, sequence, digest: current.digest };
}

/** There is nothing to take back. */
export function nothingDone(undo: Undo): UndoResult {
  const plan: UndoPlan = {
    files: [],
    packages: { erase: [], kept: [], downgrade: [], oneWay: [] },
    services: { stop: [], disable: [], enable: [], act: [] },
    accounts: [],
    unpacked: [],
  };
  return { outcome: 'unchanged', undo, plan, receipt: undo.receipt, kept: [], warnings: [] };
}

/** Copies of the RPMs: what is tested is what rpm reads. */
async function stageOldRpms(host: Host, folders: readonly string[], stage: string): Promise<string[]> {
  const into = join(stage, 'old-rpms');
  for (const folder of folders.flatMap((one) => [one, join(one, 'rpms')]))
    for (const name of (await host.list(folder)).filter((one) => one.endsWith('.rpm'))) {
      if ((await host.lstat(join(folder, name)))?.kind !== 'file') continue;
      await host.ensureDirectory(into);
      await host.copyDurable(join(folder, name), join(into, name), { mode: 0o600 });
    }
  return folders.length === 0 ? [] : [into];
}

/**
 * Each configuration file that goes back is tested by the program that will read it (the old one, where
 * that goes back too) beside its place, before anything changes.
 */
async function requireValid(
  host: Host,
  undo: Undo,
  plan: UndoPlan,
  stage: string,
  reporter: Reporter,
): Promise<void> {
  const putBack = new Map(
    plan.files
      .filter(({ action, undo: { before } }) => action === 'put-back' && before.backup !== null)
      .map((file) => [file.undo.before.path, file]),
  );
  const problems: string[] = [];
  for (const rule of undo.back.validations) {
    const backup = putBack.get(rule.path)?.undo.before.backup;
    if (backup === undefined || backup === null) continue;
    const argv = await withOldProgram(host, rule.argv, putBack, stage);
    const candidate = candidateName(rule.path);
    await host.copyDurable(backup, candidate, { mode: 0o600 });
    try {
      const problem = await validate(host, rule.path, { ...rule, argv }, candidate);
      if (problem?.kind === 'untested') reporter.warn(problem.message);
      else if (problem !== undefined)
        problems.push(
          problem.message,
          ...((putBack.get(rule.path)?.undo.before.mode ?? 0) & 0o044
            ? problem.details
            : [notShown(argv, backup)]),
        );
    } finally {
      await host.remove(candidate);
    }
  }
  if (problems.length > 0)
    throw refusedError({
      code: 'OLD_CONFIGURATION_REFUSED',
      message: 'the configuration that would be put back does not pass the test of its own program',
      where: [...new Set(undo.back.validations.map(({ path }) => path))].join(', '),
      details: problems,
      hint: 'Nothing was changed. What its words name has changed on this node since: mend that and run the same command again.',
    });
}

/** The file holds what others may not read, and its program quotes it. */
function notShown(argv: Argv, backup: string): string {
  return `its words may hold a secret and are not shown; to see them: ${argv.map((word) => word.replaceAll('{file}', backup)).join(' ')}`;
}

async function withOldProgram(
  host: Host,
  [program, ...words]: Argv,
  putBack: ReadonlyMap<string, FilePlan>,
  stage: string,
): Promise<[string, ...string[]]> {
  const backup = putBack.get(program)?.undo.before.backup;
  if (backup === undefined || backup === null) return [program, ...words];
  const old = join(stage, 'programs', basename(program));
  await host.ensureDirectory(join(stage, 'programs'));
  await host.copyDurable(backup, old, { mode: 0o755 });
  return [old, ...words];
}

/** The services that run again, as their own checks see them. @throws BundleError exit 6: the rollback itself is done */
export async function checkBack(host: Host, { undo }: UndoRun, request: UndoRequest): Promise<string[]> {
  return checkServices(host, {
    ...request,
    checks: undo.back.checks,
    units: undo.back.services.map(({ unit }) => unit),
  });
}
