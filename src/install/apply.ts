import { dirname, join } from 'node:path';
import type { Configuration } from '../configure/types.js';
import { BundleError, EXIT, stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import type { BundledRpm, Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { member, target } from '../model/layout.js';
import { formatNevra } from '../model/nevra.js';
import type { Reporter, Step } from '../report.js';
import { inStep } from '../report.js';
import type { Built } from './build.js';
import { buildComponent, buildFolders, endProcessesOf } from './build.js';
import { runCheck } from './checks.js';
import { applyConfiguration, refreshAgain } from './configuration.js';
import type { Journal, UnitBefore, Unsettled } from './journal.js';
import type { Plan, PlanStep } from './plan.js';
import { commandScript } from './plan.js';
import type { Facts } from './probe.js';
import type { InstalledFile, InstalledLink } from './receipt.js';
import type { RpmRun } from './rpm.js';
import { installPackages, ownerOf, requirePackages } from './rpm.js';
import { applyServices, releaseServices, restoreServices } from './services.js';
import { systemError } from './system-error.js';
import type { TrustedKey } from './trust.js';
import type { Changes } from './undo.js';
import { trackChanges } from './undo.js';

export interface ApplyRequest {
  readonly plan: Plan;
  readonly contents: Contents;
  readonly configuration: Configuration;
  readonly facts: Facts;
  /** Where the payload was unpacked; undefined when no step needs it. */
  readonly staged: string | undefined;
  readonly key: TrustedKey;
  readonly takeOver: boolean;
  readonly runId: string;
  readonly journal: Journal;
  /** What killed runs left; undoing this run undoes them too. */
  readonly unsettled: Unsettled;
  readonly reporter: Reporter;
  readonly now: () => number;
  /** True once somebody asked to stop (Ctrl-C, SIGTERM): the next step does not begin. */
  readonly interrupted: () => boolean;
}

export interface Applied {
  /** Files and links of the components that were built in this run. */
  readonly files: readonly InstalledFile[];
  readonly links: readonly InstalledLink[];
  readonly warnings: readonly string[];
}

/**
 * Works through the plan. Each step is announced in the journal before it begins. When one fails, what
 * services depend on (files, configuration, units) is put back, and the error says so.
 * @throws BundleError exit 6
 */
export async function apply(host: Host, request: ApplyRequest): Promise<Applied> {
  const { plan, journal } = request;
  const changes = trackChanges(host, journal, request.runId, request.unsettled);
  const built: Built[] = [];
  const placed: { files: InstalledFile[]; links: InstalledLink[] } = { files: [], links: [] };
  let begun: PlanStep | undefined;
  const warnings: string[] = [];
  try {
    for (const step of plan.steps) {
      begun = step;
      if (request.interrupted()) throw stopped(`before step ${step.id}`);
      await journal.record({ event: 'step-start', step: step.id, data: journalData(step) });
      await inStep(request.reporter, step.id, step.title, (line) =>
        perform(host, request, step, changes, built, placed, line),
      );
      await journal.record({ event: 'step-done', step: step.id });
    }
    begun = undefined;
    warnings.push(...(await check(host, request)));
    if (request.interrupted()) throw stopped('before the receipt was written');
  } catch (error) {
    const step = begun?.id ?? 'check';
    // The disk may be full, which must not keep anything from being undone.
    await journal
      .record({ event: 'step-failed', step, reason: error instanceof Error ? error.message : String(error) })
      .catch(() => undefined);
    const undone = await undo(host, request, changes, begun);
    await journal.record({ event: 'undone', step, problems: undone.problems }).catch(() => undefined);
    throw withUndone(error, step, undone);
  } finally {
    await cleanUp(host, plan).catch((error: unknown) => {
      request.reporter.warn(`build folders are left in ${target.build}: ${String(error)}`);
    });
  }
  return { ...placed, warnings };
}

function stopped(where: string): BundleError {
  return stepError({
    code: 'INTERRUPTED',
    message: 'stopped as asked',
    where,
    hint: 'To go on, run the same command again.',
  });
}

function journalData(step: PlanStep): unknown {
  if (step.kind === 'rpms') return [...step.missing, ...step.upgrade].map((rpm) => formatNevra(rpm.nevra));
  return step.changes;
}

async function perform(
  host: Host,
  request: ApplyRequest,
  step: PlanStep,
  changes: Changes,
  built: Built[],
  placed: { files: InstalledFile[]; links: InstalledLink[] },
  line: Step,
): Promise<void> {
  switch (step.kind) {
    case 'trust': {
      await changes.makeDirectory(target.trust, { mode: 0o755 });
      const path = join(target.trust, `${request.key.keyId}.pem`);
      await changes.keep(path);
      await host.writeDurable(path, request.key.pem, { mode: 0o644 });
      return;
    }
    case 'command':
      await placeCommand(host, request, step.alias, changes);
      return;
    case 'rpms':
      await applyRpms(host, request, step, line);
      return;
    case 'users':
      for (const user of step.users) await addUser(host, user, request.facts.groups.has(user.name));
      return;
    case 'build': {
      const made = await Promise.all(
        step.jobs.map((job) =>
          inStep(
            request.reporter,
            `build.${job.component.name}`,
            `build ${job.component.name} ${job.component.version}`,
            (own) =>
              buildComponent(
                host,
                job,
                join(stagedFolder(request), job.component.source.path),
                { jobs: request.facts.cpus, stop: request.interrupted },
                own,
              ),
          ),
        ),
      );
      built.push(...made);
      return;
    }
    case 'files':
      await placeFiles(host, request, built, changes, placed);
      return;
    case 'configuration':
      await applyConfiguration(host, step, changes, request.reporter);
      return;
    case 'services':
      await applyServices(host, step);
  }
}

async function placeCommand(
  host: Host,
  request: ApplyRequest,
  alias: boolean,
  changes: Changes,
): Promise<void> {
  const staged = stagedFolder(request);
  await changes.makeDirectory(target.libexec, { mode: 0o755 });
  const places = [
    { from: member.runtime, to: target.runtime, mode: 0o755 },
    { from: member.installer, to: target.installer, mode: 0o644 },
  ];
  for (const { from, to, mode } of places) {
    const sha256 = digestOf(request.contents, from);
    await changes.keep(to);
    requireDigest(from, sha256, await host.copyDurable(join(staged, from), to, { mode, sha256 }));
  }
  await changes.keep(target.command);
  await host.writeDurable(target.command, commandScript(), { mode: 0o755 });
  if (!alias) return;
  await changes.keep(target.commandAlias);
  await host.linkDurable(target.commandAlias, target.command);
}

type RpmsStep = Extract<PlanStep, { kind: 'rpms' }>;

/** Every file is hashed again just before rpm reads it; rpm's exit code alone is not believed (FACTS). */
async function applyRpms(host: Host, request: ApplyRequest, step: RpmsStep, line: Step): Promise<void> {
  const staged = stagedFolder(request);
  const all = [...step.missing, ...step.upgrade];
  for (const rpm of all)
    requireDigest(
      rpm.path,
      digestOf(request.contents, rpm.path),
      (await host.sha256(join(staged, rpm.path))) ?? 'missing',
    );
  const paths = (rpms: readonly BundledRpm[]): string[] => rpms.map((rpm) => join(staged, rpm.path));
  const total = all.length;
  const run = (upgrade: boolean, before: number): RpmRun => ({
    upgrade,
    onProgress: (done) => {
      line.progress({ done: Math.min(before + done, total), total, unit: 'items' });
    },
    onWait: () => {
      line.note('waiting for another rpm or yum to end (see: ps -C rpm,yum)');
    },
    stop: request.interrupted,
  });
  await installPackages(host, paths(step.missing), run(false, 0));
  await installPackages(host, paths(step.upgrade), run(true, step.missing.length));
  await requirePackages(
    host,
    all.map((rpm) => rpm.nevra),
  );
}

async function placeFiles(
  host: Host,
  request: ApplyRequest,
  built: readonly Built[],
  changes: Changes,
  placed: { files: InstalledFile[]; links: InstalledLink[] },
): Promise<void> {
  if (!request.takeOver) await requireUnowned(host, built);
  for (const { component, files } of built) {
    for (const file of files) {
      await changes.ensureDirectory(dirname(file.path));
      await changes.keep(file.path);
      const sha256 = await host.copyDurable(file.from, file.path, { mode: file.mode });
      placed.files.push({
        component: component.name,
        path: file.path,
        sha256: Sha256.parse(sha256),
        mode: file.mode,
      });
    }
    for (const link of component.links) {
      await changes.ensureDirectory(dirname(link.path));
      await changes.keep(link.path);
      await host.linkDurable(link.path, link.to);
      placed.links.push({ component: component.name, path: link.path, to: link.to });
    }
  }
}

/** A file of a package is not overwritten: rpm would call it damaged, and an update would put it back. */
async function requireUnowned(host: Host, built: readonly Built[]): Promise<void> {
  const owned: string[] = [];
  for (const { component, files } of built)
    for (const { path } of [...files, ...component.links]) {
      if ((await host.lstat(path)) === undefined) continue;
      const owner = await ownerOf(host, path);
      if (owner !== undefined) owned.push(`${path} belongs to ${owner}`);
    }
  if (owned.length > 0)
    throw stepError({
      code: 'OWNED_BY_RPM',
      message: 'the build would overwrite files of installed packages',
      where: 'step files',
      details: owned.slice(0, 20),
      hint: 'Remove the package, or run again with --take-over.',
    });
}

/** @param groupExists useradd's -U would then end with 9, as for an account that is there, and make none */
async function addUser(
  host: Host,
  { name, home, shell }: { readonly name: string; readonly home: string; readonly shell: string },
  groupExists: boolean,
): Promise<void> {
  const group = groupExists ? ['-g', name] : ['-U'];
  const result = await host.run(['useradd', '-r', '-M', ...group, '-d', home, '-s', shell, name]);
  if (result.exitCode === 0) return;
  throw stepError({
    code: 'ACCOUNT_FAILED',
    message: `useradd ${name} ${outcome(result)}`,
    where: 'step users',
    details: lastLines(result),
  });
}

/** All checks at once; the first that does not hold fails the run. */
async function check(host: Host, request: ApplyRequest): Promise<string[]> {
  const checks = request.configuration.checks;
  if (checks.length === 0) return [];
  return inStep(request.reporter, 'check', 'check the services', async () => {
    const results = await Promise.all(
      checks.map((one) => runCheck(host, one, request.now, request.interrupted)),
    );
    const problems = results.flatMap((result) =>
      result.problem === undefined ? [] : [`${result.check.id}: ${result.problem}`],
    );
    if (request.interrupted()) throw stopped('step check');
    if (problems.length > 0)
      throw stepError({
        code: 'CHECK_FAILED',
        message: `${String(problems.length)} of ${String(checks.length)} checks failed`,
        where: 'step check',
        details: problems,
        hint: `See: journalctl ${request.configuration.services.map(({ unit }) => `-u ${unit}`).join(' ')}, and ${target.log}`,
      });
    return results.flatMap((result) => result.warnings);
  });
}

interface Undone {
  /** What was put back, in words. */
  readonly done: readonly string[];
  /** What was not, with what to do by hand. */
  readonly problems: readonly string[];
}

/** Puts back what services depend on, then the services. Never throws. */
async function undo(
  host: Host,
  request: ApplyRequest,
  changes: Changes,
  failed: PlanStep | undefined,
): Promise<Undone> {
  const { steps } = request.plan;
  const services = steps.find((step) => step.kind === 'services');
  const begun = failed === undefined || failed.kind === 'services' || request.unsettled.units.size > 0;
  const before = unitsBefore(request);
  const running = begun && services?.kind === 'services' ? services : undefined;

  const problems = running === undefined ? [] : await releaseServices(host, running, before);
  const restored = await changes.restore();
  const configuration = steps.find((step) => step.kind === 'configuration');
  problems.push(...restored.problems);
  if (configuration?.kind === 'configuration')
    problems.push(...(await refreshAgain(host, configuration, new Set(restored.paths))));
  if (running !== undefined) problems.push(...(await restoreServices(host, running, before)));
  return {
    done: [
      ...(restored.paths.length === 0
        ? []
        : [
            restored.paths.length === 1
              ? '1 file is as it was'
              : `${String(restored.paths.length)} files are as they were`,
          ]),
      ...(running !== undefined && problems.length === 0 ? ['services are as they were'] : []),
    ],
    problems,
  };
}

/** As the first of the runs that were killed found them; otherwise as this one did. */
function unitsBefore({
  facts,
  unsettled,
}: Pick<ApplyRequest, 'facts' | 'unsettled'>): ReadonlyMap<string, Omit<UnitBefore, 'unit'>> {
  return new Map<string, Omit<UnitBefore, 'unit'>>([...facts.units, ...unsettled.units]);
}

function withUndone(given: unknown, step: string, { done, problems }: Undone): unknown {
  const error = systemError(given, `step ${step}`, EXIT.stepFailed);
  if (!(error instanceof BundleError)) return error;
  const told =
    done.length > 0
      ? `Undone: ${done.join(', ')}.`
      : problems.length > 0
        ? 'Not everything could be undone: see above.'
        : 'Nothing had to be undone.';
  return stepError({
    code: error.code,
    message: error.message,
    where: error.where ?? `step ${step}`,
    details: [...error.details, ...problems.map((problem) => `not undone: ${problem}`)],
    hint: [told, error.hint ?? 'Mend the cause and run the same command again.'].join('\n'),
    cause: given,
  });
}

async function cleanUp(host: Host, plan: Plan): Promise<void> {
  for (const step of plan.steps) {
    if (step.kind !== 'build') continue;
    for (const job of step.jobs) {
      await endProcessesOf(host, job.uid);
      await host.remove(buildFolders(job.component.name).top);
    }
  }
}

function stagedFolder(request: ApplyRequest): string {
  if (request.staged === undefined) throw new Error('this plan needs the payload, which was not staged');
  return request.staged;
}

function digestOf(contents: Contents, path: string): string {
  const found = contents.members.find((entry) => entry.path === path)?.sha256;
  if (found === undefined) throw new Error(`${path} is no member of this bundle`);
  return found;
}

function requireDigest(path: string, expected: string, actual: string): void {
  if (expected === actual) return;
  throw stepError({
    code: 'STAGE_CHANGED',
    message: `${path} changed since it was verified: SHA-256 is ${actual}, expected ${expected}`,
    where: target.stage,
    hint: 'Somebody or a failing disk changed the stage. Run the same command again; if it comes again, see: dmesg | tail',
  });
}
