import { join } from 'node:path';
import type { Host } from '../host/host.js';
import { formatNevra } from '../model/nevra.js';
import type { Plan } from './plan.js';
import { requireSoundDatabase } from './rpm-database.js';
import { rpmHeaders } from './rpm-headers.js';
import { OBSOLETES_FORMAT, obsoleteRefusals } from './rpm-obsoletes.js';
import { speaksOf, testTransaction } from './rpm.js';
import type { PackagedFile } from './unpacked.js';
import { FILES_FORMAT, parseFiles } from './unpacked.js';

/** What rpm itself said to a set of packages. */
export interface RpmTrial {
  /** NEVRAs, in the plan's order. */
  readonly packages: readonly string[];
  /** rpm's own words; empty: it would go in. */
  readonly problems: readonly string[];
  /** Installed packages that would be lost to packages of another name, one sentence each. */
  readonly obsoletes: readonly string[];
  /** What the packages unpack. */
  readonly files?: readonly PackagedFile[];
}

/**
 * Tries the plan's packages against the real database, without force and nodeps, in one transaction as the step
 * will run them; undefined: there are none.
 * @param known how many packages the database names
 * @throws BundleError exit 5 when the database is damaged, 6 when rpm cannot read a package
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
  const rpms = [...step.missing, ...step.upgrade];
  const paths = rpms.map((rpm) => join(stage, rpm.path));
  const problems = await testTransaction(host, paths, step.upgrade.length > 0);
  // One start of rpm for both: the step that unpacks them does not ask again.
  const headers = await rpmHeaders(host, `${OBSOLETES_FORMAT}${FILES_FORMAT}\\n`, paths).catch(
    (error: unknown) => {
      // What rpm has said of a file that it cannot read refuses the plan, with the rest.
      if (problems.length === 0) throw error;
      return undefined;
    },
  );
  return {
    packages: triedPackages(plan),
    problems,
    obsoletes: headers === undefined ? [] : obsoleteRefusals(rpms, step.stays, headers),
    ...(headers === undefined ? {} : { files: parseFiles(headers) }),
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
  const { files } = trial;
  return {
    ...plan,
    steps: plan.steps.map((step) =>
      step.kind === 'rpms' && files !== undefined ? { ...step, files } : step,
    ),
    rpmTest: 'tried',
    refusals: [...plan.refusals, ...refusals, ...trial.obsoletes],
  };
}
