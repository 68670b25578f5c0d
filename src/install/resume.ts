import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { BuildChoice } from './plan.js';
import type { RpmAllowances } from './rpm-plan.js';
import { undoCommand } from './undo-command.js';
import type { Unsettled } from './unsettled.js';

/** What decides about the end of an installation, as it was typed. */
export interface InstallInputs {
  readonly digest: string;
  readonly site: string | undefined;
  readonly node: string | undefined;
  readonly allow: RpmAllowances & { readonly takeOver: boolean; readonly conflicts: readonly string[] };
  readonly build: BuildChoice;
}

/** The flags that change the plan, as typed, in one order. */
export function planFlags({ allow, build }: Pick<InstallInputs, 'allow' | 'build'>): string[] {
  const { upgrade, protectedNames, conflicts, takeOver } = allow;
  return [
    ...(upgrade ? ['--allow-upgrade'] : []),
    ...[...new Set(protectedNames)].sort().map((name) => `--allow-protected ${name}`),
    ...[...new Set(conflicts)].sort().map((name) => `--allow-conflict ${name}`),
    ...(takeOver ? ['--take-over'] : []),
    ...(build.way === undefined ? [] : [`--build ${build.way}`]),
    ...(build.keepPackages ? ['--keep-build-packages'] : []),
  ];
}

/**
 * A run that was ended half way is gone on with by the same command, or taken back; a third thing would
 * mix two states.
 * @throws BundleError exit 5 that lists what differs
 */
export async function requireSameRun(host: Host, { begun }: Unsettled, given: InstallInputs): Promise<void> {
  if (begun === undefined) return;
  if (begun.kind !== 'install')
    throw refusedError({
      code: 'UNFINISHED_RUN',
      message: `the ${begun.kind} ${begun.run} on this node is not finished`,
      where: `run ${begun.run}`,
      hint: `Finish it first: ${await undoCommand(host, begun.kind)}`,
    });
  const differences: string[] = [];
  const compare = (what: string, before: string | null, now: string | null): void => {
    if (before !== now)
      differences.push(`${what}: it was begun with ${before ?? 'none'}, this is ${now ?? 'none'}`);
  };
  compare('bundle digest', begun.digest, given.digest);
  // A bundle without configuration reads no site file, whatever is given.
  if (begun.siteDigest !== null)
    compare('site file, SHA-256', begun.siteDigest, (await host.sha256(given.site ?? '')) ?? null);
  if (begun.node !== null) compare('--node', begun.node, given.node ?? null);
  const flags = planFlags(given);
  for (const flag of begun.flags.filter((one) => !flags.includes(one)))
    differences.push(`${flag}: it was begun with it, this is without`);
  for (const flag of flags.filter((one) => !begun.flags.includes(one)))
    differences.push(`${flag}: it was begun without, this is with it`);
  if (differences.length === 0) return;
  throw refusedError({
    code: 'UNFINISHED_RUN',
    message: `an installation of ${begun.bundle} on this node was ended before it was done; this is not the same one`,
    where: `run ${begun.run}`,
    details: differences,
    hint: `Finish it with the command that began it, or take it back: ${await undoCommand(host, 'rollback')}\nNothing was changed.`,
  });
}
