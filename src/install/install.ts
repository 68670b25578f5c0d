import { join } from 'node:path';
import type { Configuration } from '../configure/index.js';
import { EXIT, refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { folder, member, target } from '../model/layout.js';
import type { Reporter } from '../report.js';
import { formatBytes, inStep } from '../report.js';
import { requireSameRelease } from '../review/verify.js';
import { apply } from './apply.js';
import { removeBuildRoot } from './build-root.js';
import type { Erasable } from './build-packages.js';
import { commit, installedFiles } from './commit.js';
import type { Audit } from './audit.js';
import { alone } from './alone.js';
import { eraseAfterwards, lookAhead, onlyErases } from './erase-afterwards.js';
import { readFloor } from './floor.js';
import type { Journal } from './journal.js';
import { openJournal } from './journal.js';
import { shortenJournal } from './journal-size.js';
import { keysFor } from './keys.js';
import { requireApproved } from './plan-file.js';
import { planDigest } from './plan-resume.js';
import type { PlanDocument } from './plan-schema.js';
import { chooseWay } from './needed-packages.js';
import type { BuildChoice, Plan, PlanRequest } from './plan.js';
import { makePlan, needsPayload } from './plan.js';
import type { Facts } from './probe.js';
import { probe } from './probe.js';
import type { Receipt } from './receipt.js';
import { readReceipt } from './receipt.js';
import { receiptFacts } from './receipt-facts.js';
import { planFlags, requireSameRun } from './resume.js';
import { lackingToRun } from './run-packages.js';
import type { RpmAllowances } from './rpm-plan.js';
import type { RpmTrial } from './rpm-trial.js';
import { tryPackages, withTrial } from './rpm-trial.js';
import { readSite } from './site-file.js';
import { systemError } from './system-error.js';
import { dropOldBackups, dropLeftovers } from './tidy.js';
import type { Verified } from './trust.js';
import { clockWarning, requireSequence, verifyChecksums } from './trust.js';
import { runningOf } from './running.js';
import { unitsBefore } from './units-before.js';
import { unpack } from './unpack.js';
import type { Unsettled } from './unsettled.js';
import { readUnsettled, unsettled as unsettledIn } from './unsettled.js';

export interface InstallRequest {
  /** The folder that "bundle create" made: the medium, or install.sh's copy of it. */
  readonly directory: string;
  /** Only for the first installation: a public key's path and its fingerprint by another way. */
  readonly key: string | undefined;
  readonly fingerprint: string | undefined;
  readonly site: string | undefined;
  readonly node: string | undefined;
  readonly allow: RpmAllowances & {
    readonly takeOver: boolean;
    /** Package names whose problems in `rpm --test` are accepted. */
    readonly conflicts: readonly string[];
  };
  readonly build: BuildChoice;
  /** Stop after the plan. */
  readonly dryRun: boolean;
  readonly reporter: Reporter;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly date: () => Date;
  readonly runId: string;
  readonly interrupted: () => boolean;
  /** The plan that was approved: nothing is done unless this one is the same. */
  readonly expected?: PlanDocument | undefined;
  /** Told what the plan was made from. */
  readonly observe?: (seen: Seen) => void;
  /** Keeps the record of this run. */
  readonly audit?: Audit;
  /** Shows the plan and asks; false: nothing is done. */
  readonly confirm: (plan: Plan, facts: Facts) => Promise<boolean>;
}

export interface Seen {
  readonly planned: PlanRequest;
  /** What rpm said; undefined when no package would go in. */
  readonly trial: RpmTrial | undefined;
  /** Paths of the RPMs that an isolated build has to bring to this node; undefined: rpm was not asked. */
  readonly lacking: ReadonlySet<string> | undefined;
}

export interface InstallResult {
  readonly outcome: 'installed' | 'unchanged' | 'planned' | 'declined';
  readonly plan: Plan;
  readonly receipt: Receipt | undefined;
  readonly warnings: readonly string[];
}

/**
 * verify → stage → probe → plan → confirm → apply → check → receipt.
 * @throws BundleError exit 2–6
 */
export async function install(host: Host, request: InstallRequest): Promise<InstallResult> {
  try {
    return await installAlone(host, request);
  } catch (error) {
    // What fails in a step is worded there; this is before the first of them, or the receipt after the last.
    throw systemError(error, 'preparing the installation', EXIT.stepFailed);
  }
}

async function installAlone(host: Host, request: InstallRequest): Promise<InstallResult> {
  const work = async (): Promise<InstallResult> => {
    const stage = join(target.stage, request.runId);
    try {
      await dropLeftovers(host, request.directory);
      await removeBuildRoot(host);
      return await installLocked(host, request, stage);
    } finally {
      await host.remove(stage).catch(() => undefined);
    }
  };
  return alone(host, work, request.audit);
}

async function installLocked(host: Host, request: InstallRequest, stage: string): Promise<InstallResult> {
  const { reporter } = request;
  const receipt = await readReceipt(host);
  const clock = clockWarning(request.date(), receipt);
  if (clock !== undefined) reporter.warn(clock);
  const keys = await keysFor(host, request);
  const verified = await inStep(
    reporter,
    'verify',
    'verify the signature',
    () => verifyChecksums(host, request.directory, keys.trust),
    ({ checksums, signers }) =>
      `${checksums.name} ${checksums.version}, sequence ${String(checksums.sequence)}, signed by ${signers.map(({ keyId }) => keyId).join(', ')}`,
  );
  requireSequence(verified.checksums, verified.digest, receipt, await readFloor(host, receipt));
  const unsettled = await readUnsettled(host, receipt?.run ?? null);
  await requireSameRun(host, unsettled, { ...request, digest: verified.digest });

  // The same bundle as committed: its contents are known, and the payload is read only if a step needs it.
  const known = receipt?.digest === verified.digest ? receipt.contents : undefined;
  const look = (contents: Contents, staged?: string): Promise<Planned> =>
    planFor(host, request, { contents, verified, isNewKey: keys.isNew, receipt, unsettled, staged });
  const first = known === undefined ? undefined : await look(known);
  const settled = first !== undefined && !needsPayload(first.plan);
  const contents = settled && known !== undefined ? known : await stageBundle(host, request, verified, stage);
  const { plan, planned, lacking, facts, configuration, siteDigest } = settled
    ? first
    : await look(contents, stage);

  const trial = await tryPackages(host, plan, facts.installed.length, stage);
  const final = withTrial(plan, trial, request.allow.conflicts);
  request.observe?.({ planned, trial, lacking });
  if (request.dryRun) {
    await request.confirm(final, facts);
    return { outcome: 'planned', plan: final, receipt, warnings: [] };
  }
  await requireApproved(host, request.expected, final);
  if (final.refusals.length > 0)
    throw refusedError({
      code: 'PLAN_REFUSED',
      message: `this node is not fit for the bundle as it is; nothing was changed (${String(final.refusals.length)} ${final.refusals.length === 1 ? 'reason' : 'reasons'})`,
      where: `plan for ${final.node ?? 'this node'}`,
      details: final.refusals,
      hint: 'Mend these, or allow those that name a flag, and run the same command again.',
    });
  // A newer release that changes nothing else raises the sequence floor: the receipt is written all the same;
  // so it is when a killed run had come to its last step.
  const isDone =
    final.steps.length === 0 && receipt?.digest === verified.digest && unsettled.begun === undefined;
  if (!isDone && !(await request.confirm(final, facts)))
    return { outcome: 'declined', plan: final, receipt, warnings: [] };

  request.audit?.note(receiptFacts(verified, keys.trust.threshold, contents, final, !settled));
  if (!isDone) await request.audit?.begin(configuration.services.map(({ unit }) => unit));
  const journal = openJournal(host, request.runId);
  if (receipt?.digest === verified.digest && unsettled.begun === undefined && onlyErases(final)) {
    const erased = await eraseAfterwards(host, final, receipt, journal, reporter);
    return { outcome: 'installed', plan: final, ...erased };
  }
  if (!isDone)
    await journal.record({
      event: 'begin',
      kind: 'install',
      digest: verified.digest,
      bundle: `${contents.name} ${contents.version}`,
      node: final.node,
      ...(request.expected === undefined ? {} : { plan: planDigest(request.expected) }),
      siteDigest,
      flags: planFlags(request),
      units: [...unitsBefore({ facts, unsettled }).values()],
      running: runningOf(configuration),
    });
  let ahead: Promise<Erasable | undefined> | undefined;
  const { warnings, receipt: committed } = await apply(host, {
    plan: final,
    contents,
    configuration,
    facts,
    staged: settled ? undefined : stage,
    key: verified.signedBy,
    takeOver: request.allow.takeOver,
    runId: request.runId,
    journal,
    unsettled,
    reporter,
    now: request.now,
    interrupted: request.interrupted,
    onWatch: (placed) => {
      // Awaited behind the commit, which must not wait for an rpm that does not answer.
      ahead = lookAhead(host, final, installedFiles({ contents, plan: final, receipt }, placed));
    },
    commit: async (applied) =>
      isDone
        ? undefined
        : commit(host, {
            runId: request.runId,
            unsettled,
            date: request.date(),
            verified,
            contents,
            plan: final,
            facts,
            applied,
            receipt,
            siteDigest,
            configuration,
          }),
  }).catch(async (error: unknown) => {
    await journal
      .record({ event: 'end', result: request.interrupted() ? 'interrupted' : 'failed' })
      .catch(() => undefined);
    throw error;
  });
  if (committed === undefined) return { outcome: 'unchanged', plan: final, receipt, warnings };

  const untold = await tellCommit(host, journal, committed);
  const erased = await eraseAfterwards(host, final, committed, journal, reporter, ahead);
  await shortenJournal(host, (text) => unsettledIn(text)).catch(() => undefined);
  return {
    outcome: 'installed',
    plan: final,
    receipt: erased.receipt,
    warnings: [...warnings, ...untold, ...erased.warnings],
  };
}

/** What is installed is said by the receipt alone: a disk that fails behind it fails no installation. @returns warnings */
async function tellCommit(host: Host, journal: Journal, receipt: Receipt): Promise<string[]> {
  try {
    await journal.record({ event: 'commit', digest: receipt.digest });
    await journal.record({ event: 'end', result: 'committed' });
    await dropOldBackups(host, receipt);
    return [];
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return [
      `it is installed, but not all of its records could be written (${said}). See: df -h; dmesg | tail`,
    ];
  }
}

async function stageBundle(
  host: Host,
  request: InstallRequest,
  verified: Verified,
  stage: string,
): Promise<Contents> {
  const [payload] = verified.checksums.files;
  const path = join(request.directory, payload?.name ?? folder.payload(''));
  const expected = Sha256.parse(payload?.sha256);
  await host.makeDirectory(stage, { mode: 0o700 });
  return inStep(
    request.reporter,
    'stage',
    'copy and verify the payload',
    async (step) => {
      try {
        const contents = await unpack(host, path, expected, stage, step);
        requireSameRelease(verified.checksums, contents, `${path}: ${member.contents}`);
        return contents;
      } catch (error) {
        throw noRoom(error) ?? error;
      }
    },
    (contents) =>
      `${String(contents.members.length)} members, ${formatBytes(contents.members.reduce((sum, entry) => sum + entry.sizeBytes, 0))}`,
  );
}

function noRoom(error: unknown): Error | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'ENOSPC') return undefined;
  return refusedError({
    code: 'NO_ROOM',
    message: 'the disk is full: the payload does not fit',
    where: target.stage,
    hint: `Make room (see: df -h ${target.state}) and run the same command again.`,
    cause: error,
  });
}

interface Planned {
  readonly plan: Plan;
  readonly planned: PlanRequest;
  readonly lacking: ReadonlySet<string> | undefined;
  readonly facts: Facts;
  readonly configuration: Configuration;
  readonly siteDigest: Sha256 | null;
}

interface Known {
  readonly contents: Contents;
  readonly verified: Verified;
  readonly isNewKey: boolean;
  readonly receipt: Receipt | undefined;
  readonly unsettled: Unsettled;
  /** Where the payload was unpacked, if it was. */
  readonly staged: string | undefined;
}

async function planFor(host: Host, request: InstallRequest, known: Known): Promise<Planned> {
  const { contents, verified, isNewKey, receipt, unsettled, staged } = known;
  const site = await readSite(host, request, contents);
  const facts = await inStep(
    request.reporter,
    'probe',
    'look at this node',
    () =>
      probe(host, {
        configuration: site.configuration,
        receipt,
        contents,
      }),
    (found) => `${found.os.name} ${found.os.release}, ${String(found.installed.length)} RPMs`,
  );
  const isolated = chooseWay(contents, request.build.way).way === 'isolated';
  const lacking =
    staged !== undefined && (isolated || request.observe !== undefined)
      ? await lackingToRun(host, contents, facts.installed, staged)
      : undefined;
  const planRequest: PlanRequest = {
    contents,
    digest: verified.digest,
    node: site.node,
    siteDigest: site.digest,
    configuration: site.configuration,
    facts,
    receipt,
    unsettled,
    newKey: isNewKey ? verified.signedBy : undefined,
    allow: request.allow,
    secrets: site.secrets,
    build: request.build,
    runPackages: isolated ? lacking : undefined,
    addedBefore: unsettled.packageChanges.added,
  };
  return {
    plan: makePlan(planRequest),
    planned: planRequest,
    lacking,
    facts,
    configuration: site.configuration,
    siteDigest: site.digest,
  };
}
