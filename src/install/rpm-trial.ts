import { join } from 'node:path';
import type { Host } from '../host/host.js';
import { formatNevra } from '../model/nevra.js';
import type { Plan } from './plan.js';
import { requireSoundDatabase } from './rpm-database.js';
import { speaksOf, testTransaction } from './rpm.js';

/** What rpm itself said to a set of packages. */
export interface RpmTrial {
  /** NEVRAs, in the plan's order. */
  readonly packages: readonly string[];
  /** rpm's own words; empty: it would go in. */
  readonly problems: readonly string[];
}

/**
 * Tries the plan's packages against the real database, without force and nodeps; undefined: there are none.
 * @param known how many packages the database names
 * @throws BundleError exit 5 when the database is damaged
 */
export async function tryPackages(
  host: Host,
  plan: Plan,
  known: number,
  stage: string,
): Promise<RpmTrial | undefined> {
  const step = plan.steps.find((candidate) => candidate.kind === 'rpms');
  if (step?.kind !== 'rpms') return undefined;
  await requireSoundDatabase(host, known);
  const paths = [...step.missing, ...step.upgrade].map((rpm) => join(stage, rpm.path));
  return {
    packages: triedPackages(plan),
    problems: await testTransaction(host, paths, step.upgrade.length > 0),
  };
}

/** Pure: NEVRAs of what goes in. */
export function triedPackages(plan: Plan): string[] {
  return plan.steps.flatMap((step) =>
    step.kind === 'rpms' ? [...step.missing, ...step.upgrade].map((rpm) => formatNevra(rpm.nevra)) : [],
  );
}

/** The plan with what rpm said, minus what was allowed by name. Pure. */
export function withTrial(plan: Plan, trial: RpmTrial | undefined, accepted: readonly string[]): Plan {
  if (trial === undefined) return plan;
  const refusals = trial.problems
    .filter((line) => !accepted.some((name) => speaksOf(line, name)))
    .map((line) => `rpm: ${line} (--allow-conflict NAME accepts the problems of one package)`);
  return { ...plan, rpmTest: 'tried', refusals: [...plan.refusals, ...refusals] };
}
