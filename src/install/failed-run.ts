import { BundleError, EXIT, stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import { refreshAgain } from './configuration.js';
import type { MadeAccount } from './journal.js';
import type { PackageChanges } from './package-changes.js';
import type { Plan, PlanStep } from './plan.js';
import type { Facts } from './probe.js';
import { releaseServices, restoreServices } from './services.js';
import { systemError } from './system-error.js';
import type { Changes } from './undo.js';
import { unitsBefore } from './units-before.js';
import type { Unsettled } from './unsettled.js';

/** What a failed run put back. */
export interface Undone {
  /** What was put back, in words. */
  readonly done: readonly string[];
  /** What was not, with what to do by hand. */
  readonly problems: readonly string[];
}

interface FailedRun {
  readonly plan: Plan;
  readonly facts: Facts;
  readonly unsettled: Unsettled;
}

/** Puts back what services depend on, then the services. Never throws. @param failed the step; undefined: a check */
export async function undoFailedRun(
  host: Host,
  run: FailedRun,
  changes: Changes,
  failed: PlanStep | undefined,
): Promise<Undone> {
  const { steps } = run.plan;
  const services = steps.find((step) => step.kind === 'services');
  const begun = failed === undefined || failed.kind === 'services' || run.unsettled.units.size > 0;
  const before = unitsBefore(run);
  const running = begun && services?.kind === 'services' ? services : undefined;

  const problems = running === undefined ? [] : await releaseServices(host, running, before);
  const restored = await changes.restore();
  const configuration = steps.find((step) => step.kind === 'configuration');
  problems.push(...restored.problems);
  if (configuration?.kind === 'configuration')
    problems.push(...(await refreshAgain(host, configuration.refreshes, new Set(restored.paths))));
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

/** What stays of a failed run (docs/decisions/0009), and the command that takes it back. */
export interface Leftovers {
  readonly packages: PackageChanges;
  readonly accounts: readonly MadeAccount[];
  /** As it can be typed: the command may be gone with the rest of the run. */
  readonly rollback: string;
}

/** The error as a person needs it: with what was undone, what was not, and what stays. */
export function withUndone(given: unknown, step: string, undone: Undone, left: Leftovers): unknown {
  const error = systemError(given, `step ${step}`, EXIT.stepFailed);
  if (!(error instanceof BundleError)) return error;
  const { done, problems } = undone;
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
    hint: [told, ...stays(left), error.hint ?? 'Mend the cause and run the same command again.'].join('\n'),
    cause: given,
  });
}

function stays({ packages, accounts, rollback }: Leftovers): string[] {
  const count = packages.added.length + packages.replaced.length;
  if (count + accounts.length === 0) return [];
  const what = [
    ...(count === 0 ? [] : [`${String(count)} packages`]),
    ...(accounts.length === 0 ? [] : [`${String(accounts.length)} accounts`]),
  ];
  return [`${what.join(' and ')} of this run stay; to take these back too: ${rollback}`];
}
