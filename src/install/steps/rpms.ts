import { join } from 'node:path';
import type { Host } from '../../host/host.js';
import type { BundledRpm, Contents } from '../../model/contents.js';
import { formatNevra } from '../../model/nevra.js';
import type { Step } from '../../report.js';
import type { PackageChanges } from '../package-changes.js';
import type { Plan, PlanStep } from '../plan.js';
import { installPackages, requirePackages } from '../rpm.js';
import { describeOccupant } from '../rpm-locks.js';
import { digestOf, requireDigest } from '../staged.js';
import { beginUnpacking } from '../unpacked.js';

type RpmsStep = Extract<PlanStep, { kind: 'rpms' }>;

/** For the journal: what the step adds, and what it puts in the place of what. */
export function packageChangesOf(step: RpmsStep, { rpms }: Pick<Plan, 'rpms'>): PackageChanges {
  return {
    added: step.missing.map((rpm) => formatNevra(rpm.nevra)),
    replaced: rpms.older.map(({ rpm, installed }) => ({
      from: formatNevra(installed),
      to: formatNevra(rpm.nevra),
    })),
  };
}

/** @throws BundleError exit 6 when the staged file is not what was verified */
export async function requireSameRpm(
  host: Host,
  contents: Contents,
  staged: string,
  { path }: BundledRpm,
): Promise<void> {
  requireDigest(path, digestOf(contents, path), (await host.sha256(join(staged, path))) ?? 'missing');
}

/** Every file is hashed again just before rpm reads it; rpm's exit code alone is not believed (FACTS). */
export async function applyRpms(
  host: Host,
  given: { contents: Contents; staged: string; stop: () => boolean },
  step: RpmsStep,
  line: Step,
): Promise<void> {
  const { contents, staged, stop } = given;
  const all = [...step.missing, ...step.upgrade];
  for (const rpm of all) await requireSameRpm(host, contents, staged, rpm);
  const paths = (rpms: readonly BundledRpm[]): string[] => rpms.map((rpm) => join(staged, rpm.path));
  const total = all.length;
  const unpacking = await beginUnpacking(host, paths(all), step.files);
  // All in one transaction, as it was tried: packages that are missing may need the upgraded ones, and these them.
  await installPackages(host, paths(all), {
    upgrade: step.upgrade.length > 0,
    onProgress: (done) => {
      line.progress({ done: Math.min(done, total), total, unit: 'items' });
    },
    onWait: (occupant) => {
      const name = occupant === undefined ? 'another rpm or yum' : describeOccupant(occupant);
      line.note(`waiting for ${name} to end`);
    },
    stop,
  });
  await requirePackages(
    host,
    all.map((rpm) => rpm.nevra),
    step.stays,
  );
  await unpacking.done();
}
