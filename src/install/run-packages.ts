import { join } from 'node:path';
import type { Host } from '../host/host.js';
import type { BundledRpm, Contents } from '../model/contents.js';
import type { Nevra } from '../model/nevra.js';
import { namesForRun } from '../model/packages.js';
import { testTransaction } from './rpm.js';
import { stagedProvides } from './staged-provides.js';

/**
 * The RPMs that this node lacks to run what the bundle builds: those that components declare for their run, and
 * what rpm itself misses when it tries them against the node's database, as far as the bundle has it. What it
 * misses in the end is refused with the plan.
 * @returns paths of the bundle's RPMs
 */
export async function lackingToRun(
  host: Host,
  contents: Pick<Contents, 'rpms' | 'components'>,
  installed: readonly Nevra[],
  stage: string,
): Promise<ReadonlySet<string>> {
  const names = namesForRun(contents.components);
  const there = new Set(installed.map((nevra) => nevra.name));
  const providerOf = await stagedProvides(host, stage, contents.rpms);
  const declared = [...names]
    .filter((name) => !there.has(name))
    .flatMap((name) => contents.rpms.find((rpm) => rpm.nevra.name === name) ?? providerOf(name) ?? []);
  const chosen = new Set<BundledRpm>(declared);
  for (;;) {
    const problems = await testTransaction(
      host,
      [...chosen].map((rpm) => join(stage, rpm.path)),
      false,
    );
    const more = problems
      .flatMap((line) => missingCapability(line) ?? [])
      .flatMap((capability) => providerOf(capability) ?? [])
      .filter((rpm) => !chosen.has(rpm));
    if (more.length === 0) return new Set([...chosen].map((rpm) => rpm.path));
    for (const rpm of more) chosen.add(rpm);
  }
}

/** Pure: "CAPABILITY is needed by PACKAGE" → the capability. */
export function missingCapability(line: string): string | undefined {
  return /^(.+?) is needed by \S+$/.exec(line)?.[1];
}
