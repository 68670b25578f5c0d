import { join } from 'node:path';
import type { Configuration } from '../configure/types.js';
import type { Host } from '../host/host.js';
import type { JobShare, JobSlots } from '../host/job-slots.js';
import type { Contents } from '../model/contents.js';
import { target } from '../model/layout.js';
import type { BuildWay } from '../model/packages.js';
import type { Reporter, Step } from '../report.js';
import { inStep } from '../report.js';
import type { BuildJob } from './plan.js';
import type { Built } from './build.js';
import { buildComponent, buildFolders, endProcessesOf, removeBuildFolder } from './build.js';
import { makeBuildRoot, removeBuildRoot } from './build-root.js';
import { applyConfiguration } from './configuration.js';
import { undoFailedRun, withUndone } from './failed-run.js';
import type { Displaced, Journal, JournalEvent, MadeAccount } from './journal.js';
import { requireLibraries } from './libraries.js';
import type { PackageChanges } from './package-changes.js';
import { together } from './package-changes.js';
import type { Plan, PlanStep } from './plan.js';
import type { Facts } from './probe.js';
import type { InstalledFile, InstalledLink, Receipt } from './receipt.js';
import { undoCommand } from './undo-command.js';
import { applyServices } from './services.js';
import { stagedFolder } from './staged.js';
import { accountsOf, accountsTogether, addAccounts } from './steps/accounts.js';
import { checkServices } from './steps/check.js';
import { placeCommand } from './steps/command.js';
import { placeFiles } from './steps/files.js';
import { applyRpms, packageChangesOf, requireSameRpm } from './steps/rpms.js';
import { trustKey } from './steps/trust.js';
import { stopped } from './stopped.js';
import type { TrustedKey } from './trust.js';
import type { Changes } from './undo.js';
import { trackChanges } from './undo.js';
import type { Unsettled } from './unsettled.js';

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
  /** Told when services begin to be watched: what only looks at the node can be done meanwhile. @param files that were put in place in this run */
  readonly onWatch: (files: readonly InstalledFile[]) => void;
  /** Makes what was done the installed state. What it throws undoes this run; undefined: there is nothing to commit. */
  readonly commit: (applied: Applied) => Promise<Receipt | undefined>;
}

export interface Applied {
  /** Files and links of the components that were built in this run. */
  readonly files: readonly InstalledFile[];
  readonly links: readonly InstalledLink[];
  /** For going back: what was there before, and the directories that were made. */
  readonly displaced: readonly Displaced[];
  readonly made: readonly string[];
  /** With those of unfinished and failed runs before it. */
  readonly packages: PackageChanges;
  readonly accounts: readonly MadeAccount[];
}

/**
 * Works through the plan, checks and commits. Each step is announced in the journal before it begins. When one
 * fails, what services depend on (files, configuration, units) is put back, and the error says so.
 * @throws BundleError exit 6
 */
export async function apply(
  host: Host,
  request: ApplyRequest,
): Promise<{ readonly warnings: readonly string[]; readonly receipt: Receipt | undefined }> {
  const { plan, journal, configuration } = request;
  const changes = trackChanges(host, journal, request.runId, request.unsettled);
  const built: Built[] = [];
  const placed: { files: InstalledFile[]; links: InstalledLink[] } = { files: [], links: [] };
  let begun: PlanStep | undefined;
  let left = { packages: request.unsettled.packageChanges, accounts: request.unsettled.accounts };
  const warnings: string[] = [];
  let last = 'check';
  const tidy = (): Promise<void> =>
    cleanUp(host, plan).catch((error: unknown) => {
      request.reporter.warn(`build folders are left in ${target.build}: ${String(error)}`);
    });
  try {
    for (const step of plan.steps) {
      // After the commit: see install.ts.
      if (step.kind === 'erase') continue;
      begun = step;
      if (request.interrupted()) throw stopped(`before step ${step.id}`);
      await journal.record(stepStart(step, request));
      left = withStep(left, step, request);
      await inStep(request.reporter, step.id, step.title, (line) =>
        perform(host, request, step, changes, built, placed, line),
      );
      await journal.record({ event: 'step-done', step: step.id });
    }
    begun = undefined;
    const units = configuration.services.map(({ unit }) => unit);
    // The checks wait most of their time: services must stay up for a while.
    request.onWatch(placed.files);
    const [checked] = await Promise.allSettled([
      checkServices(host, { ...request, checks: configuration.checks, units }),
      tidy(),
    ]);
    if (checked.status === 'rejected') throw checked.reason as Error;
    warnings.push(...checked.value);
    if (request.interrupted()) throw stopped('before the receipt was written');
    last = 'commit';
    const receipt = await request.commit({ ...placed, ...changes.all(), ...left });
    return { warnings, receipt };
  } catch (error) {
    const step = begun?.id ?? last;
    // The disk may be full, which must not keep anything from being undone.
    await journal
      .record({ event: 'step-failed', step, reason: error instanceof Error ? error.message : String(error) })
      .catch(() => undefined);
    const undone = await undoFailedRun(host, request, changes, begun);
    await journal.record({ event: 'undone', step, problems: undone.problems }).catch(() => undefined);
    await tidy();
    throw withUndone(error, step, undone, { ...left, rollback: await undoCommand(host, 'rollback') });
  }
}

function stepStart(step: PlanStep, { plan, facts }: ApplyRequest): JournalEvent {
  const event = { event: 'step-start', step: step.id } as const;
  if (step.kind === 'rpms') return { ...event, data: packageChangesOf(step, plan) };
  if (step.kind === 'users') return { ...event, data: accountsOf(step.users, facts) };
  return { ...event, data: step.changes };
}

type Left = Pick<Applied, 'packages' | 'accounts'>;

/** What stays when this run fails from here on. */
function withStep({ packages, accounts }: Left, step: PlanStep, { plan, facts }: ApplyRequest): Left {
  if (step.kind === 'rpms') return { packages: together(packages, packageChangesOf(step, plan)), accounts };
  if (step.kind !== 'users') return { packages, accounts };
  return { packages, accounts: accountsTogether(accounts, accountsOf(step.users, facts)) };
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
  const { contents } = request;
  switch (step.kind) {
    case 'trust':
      await trustKey(host, request.key, changes);
      return;
    case 'command':
      await placeCommand(
        host,
        { contents, staged: stagedFolder(request.staged), alias: step.alias },
        changes,
      );
      return;
    case 'root':
      await makeBuildRoot(
        host,
        {
          rpms: step.rpms,
          staged: stagedFolder(request.staged),
          requireSame: (rpm) => requireSameRpm(host, contents, stagedFolder(request.staged), rpm),
          stop: request.interrupted,
        },
        line,
      );
      return;
    case 'rpms':
      await applyRpms(
        host,
        { contents, staged: stagedFolder(request.staged), stop: request.interrupted },
        step,
        line,
      );
      return;
    case 'users':
      await addAccounts(host, step.users, request.facts);
      return;
    case 'build':
      built.push(...(await buildAll(host, request, step)));
      return;
    case 'files': {
      if (request.plan.build?.way === 'isolated')
        await requireLibraries(host, built, stagedFolder(request.staged), contents.rpms);
      const { files, links } = await placeFiles(host, built, request.takeOver, changes);
      placed.files.push(...files);
      placed.links.push(...links);
      return;
    }
    case 'configuration':
      await applyConfiguration(host, step, changes, request.reporter);
      return;
    case 'services':
      await applyServices(host, step);
      return;
    case 'erase':
  }
}

/**
 * Side by side. Each build has one job at a time of its own, whatever it runs; the processors that are left, and
 * those of a build that has ended, go to whichever make asks first.
 */
async function buildAll(
  host: Host,
  request: ApplyRequest,
  { jobs, way }: Extract<PlanStep, { kind: 'build' }>,
): Promise<Built[]> {
  const slots = jobs.length > 1 ? await shareJobs(host, request.facts.cpus, jobs.length) : undefined;
  const builds = jobs.map((job, index) =>
    build(host, request, job, way, slots?.shares[index]).finally(() => slots?.ended()),
  );
  // The first one that fails ends the step; the others may still start a command until they are ended.
  void Promise.allSettled(builds).then(() => slots?.close());
  return Promise.all(builds);
}

async function shareJobs(host: Host, processors: number, sharers: number): Promise<JobSlots | undefined> {
  const pipe = join(target.build, '_slots');
  // A run that was killed in that moment has left it.
  await host.remove(pipe);
  return host.jobSlots(pipe, { processors, sharers });
}

function build(
  host: Host,
  request: ApplyRequest,
  job: BuildJob,
  way: BuildWay,
  share: JobShare | undefined,
): Promise<Built> {
  const { component } = job;
  const source = join(stagedFolder(request.staged), component.source.path);
  return inStep(
    request.reporter,
    `build.${component.name}`,
    `build ${component.name} ${component.version}`,
    (own) =>
      buildComponent(
        host,
        job,
        source,
        {
          jobs: request.facts.cpus,
          stop: request.interrupted,
          way,
          ...(share === undefined ? {} : { share }),
        },
        own,
      ),
  );
}

async function cleanUp(host: Host, plan: Plan): Promise<void> {
  for (const step of plan.steps) {
    if (step.kind !== 'build') continue;
    for (const job of step.jobs) {
      await endProcessesOf(host, job.uid);
      await removeBuildFolder(host, buildFolders(job.component.name).top);
    }
    await removeBuildRoot(host);
  }
}
