import { dirname, join } from 'node:path';
import type { Configuration } from '../configure/types.js';
import type { BundleError } from '../errors.js';
import { stepError, untrustedError } from '../errors.js';
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
import { applyConfiguration } from './configuration.js';
import type { Journal } from './journal.js';
import type { Plan, PlanStep } from './plan.js';
import { commandScript } from './plan.js';
import type { Facts } from './probe.js';
import type { InstalledFile, InstalledLink } from './receipt.js';
import { installPackages, ownerOf, requirePackages } from './rpm.js';
import { applyServices, restoreServices } from './services.js';
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
  const changes = trackChanges(host, journal, request.runId);
  const built: Built[] = [];
  const placed: { files: InstalledFile[]; links: InstalledLink[] } = { files: [], links: [] };
  let begun: PlanStep | undefined;
  const warnings: string[] = [];
  try {
    for (const step of plan.steps) {
      begun = step;
      if (request.interrupted())
        throw stepError({
          code: 'INTERRUPTED',
          message: 'stopped as asked',
          where: `before step ${step.id}`,
        });
      await journal.record({ event: 'step-start', step: step.id, data: journalData(step) });
      await inStep(request.reporter, step.id, step.title, (line) =>
        perform(host, request, step, changes, built, placed, line),
      );
      await journal.record({ event: 'step-done', step: step.id });
    }
    begun = undefined;
    warnings.push(...(await check(host, request)));
  } catch (error) {
    const step = begun?.id ?? 'check';
    await journal.record({
      event: 'step-failed',
      step,
      reason: error instanceof Error ? error.message : String(error),
    });
    const undone = await undo(host, request, changes, begun);
    await journal.record({ event: 'undone', step });
    throw withUndone(error, step, undone);
  } finally {
    await cleanUp(host, plan);
  }
  return { ...placed, warnings };
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
      await host.makeDirectory(target.trust, { mode: 0o755 });
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
      for (const user of step.users) await addUser(host, user.name, user.home, user.shell);
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
                request.facts.cpus,
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
  await host.makeDirectory(target.libexec, { mode: 0o755 });
  const places = [
    { from: member.runtime, to: target.runtime, mode: 0o755 },
    { from: member.installer, to: target.installer, mode: 0o644 },
  ];
  for (const { from, to, mode } of places) {
    await changes.keep(to);
    requireDigest(request.contents, from, await host.copyDurable(join(staged, from), to, { mode }));
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
    requireDigest(request.contents, rpm.path, (await host.sha256(join(staged, rpm.path))) ?? 'missing');
  const paths = (rpms: readonly BundledRpm[]): string[] => rpms.map((rpm) => join(staged, rpm.path));
  let done = 0;
  const onLine = (text: string): void => {
    if (/^Updating|^\s+\d+:|#{5}/.test(text)) done += 1;
    line.progress({ done: Math.min(done, all.length), total: all.length, unit: 'items' });
  };
  await installPackages(host, paths(step.missing), false, onLine);
  await installPackages(host, paths(step.upgrade), true, onLine);
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
      await host.ensureDirectory(dirname(file.path));
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
      await host.ensureDirectory(dirname(link.path));
      await changes.keep(link.path);
      await host.linkDurable(link.path, link.to);
      placed.links.push({ component: component.name, path: link.path, to: link.to });
    }
  }
}

/** A file of a package is not overwritten: rpm would call it damaged, and an update would put it back. */
async function requireUnowned(host: Host, built: readonly Built[]): Promise<void> {
  const owned: string[] = [];
  for (const { files } of built)
    for (const file of files) {
      if ((await host.lstat(file.path)) === undefined) continue;
      const owner = await ownerOf(host, file.path);
      if (owner !== undefined) owned.push(`${file.path} belongs to ${owner}`);
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

async function addUser(host: Host, name: string, home: string, shell: string): Promise<void> {
  const result = await host.run(['useradd', '-r', '-M', '-U', '-d', home, '-s', shell, name]);
  // 9: the name is there already.
  if (result.exitCode === 0 || result.exitCode === 9) return;
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
    const results = await Promise.all(checks.map((one) => runCheck(host, one, request.now)));
    const problems = results.flatMap((result) =>
      result.problem === undefined ? [] : [`${result.check.id}: ${result.problem}`],
    );
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

/** Puts back what services depend on. @returns what was done, for the message */
async function undo(
  host: Host,
  request: ApplyRequest,
  changes: Changes,
  failed: PlanStep | undefined,
): Promise<string[]> {
  const services = request.plan.steps.find((step) => step.kind === 'services');
  const servicesBegan = failed === undefined || failed.kind === 'services';
  const restored = await changes.restore();
  const said = restored.length === 0 ? [] : [`put back ${String(restored.length)} files`];
  if (!servicesBegan || services?.kind !== 'services') return said;
  const problems = await restoreServices(host, services, request.facts.units);
  return [...said, problems.length === 0 ? 'services are as they were' : `services: ${problems.join('; ')}`];
}

function withUndone(error: unknown, step: string, undone: readonly string[]): unknown {
  const told = undone.length === 0 ? 'Nothing had to be undone.' : `Undone: ${undone.join(', ')}.`;
  const known = asBundleError(error);
  if (known === undefined) return error;
  return stepError({
    code: known.code,
    message: known.message,
    where: known.where ?? `step ${step}`,
    details: known.details,
    hint: [told, known.hint ?? 'Mend the cause and run the same command again.'].join('\n'),
    cause: error,
  });
}

function asBundleError(error: unknown): BundleError | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('exit' in error && 'details' in error) return error as BundleError;
  const code = 'code' in error ? String(error.code) : undefined;
  return code === undefined ? undefined : stepError({ code, message: error.message, cause: error });
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

function requireDigest(contents: Contents, path: string, actual: string): void {
  const expected = contents.members.find((entry) => entry.path === path)?.sha256;
  if (expected === actual) return;
  throw untrustedError({
    code: 'STAGE_CHANGED',
    message: `${path} changed since it was verified: SHA-256 is ${actual}, expected ${expected ?? 'none'}`,
    where: target.stage,
    hint: 'Somebody or a failing disk changed the stage. Run the command again.',
  });
}
