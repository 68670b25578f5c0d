import type { Host } from '../host/host.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { Journal } from './journal.js';
import { librariesOf } from './libraries.js';
import type { Receipt } from './receipt.js';
import { installedPackages, packagesOwning } from './rpm.js';
import { erasePackages, testErase } from './rpm-erase.js';

/** What became of the packages that only the build needed. */
export interface Erased {
  /** NEVRAs that are gone, some of them perhaps since a run that was killed. */
  readonly erased: readonly string[];
  /** NEVRAs that stay, and why. */
  readonly kept: readonly { readonly nevra: string; readonly because: string }[];
  /** NEVRAs that should have gone and did not. */
  readonly left: readonly string[];
  /** rpm's words about those. */
  readonly problem: string | undefined;
  /** How many packages the node has now. */
  readonly installedCount: number;
}

/** What may go of the packages that only the build needed. */
export interface Erasable {
  readonly erase: readonly Nevra[];
  /** NEVRAs that stay, and why. */
  readonly kept: Erased['kept'];
}

/**
 * Which packages can go that this program added for the build: not what something else needs, a library of an
 * installed file, or what `rpm -e --test` says. Changes nothing.
 * @param candidates NEVRAs
 * @param files the installed ones
 */
export async function findErasable(
  host: Host,
  candidates: readonly string[],
  files: Receipt['files'],
): Promise<Erasable> {
  const wanted = new Set(candidates);
  const there = (await installedPackages(host)).filter((nevra) => wanted.has(formatNevra(nevra)));
  const loaded = await loadedPackages(host, new Set(there.map(formatNevra)), files);
  const tested = await testErase(
    host,
    there.filter((nevra) => !loaded.has(formatNevra(nevra))),
  );
  return {
    erase: tested.erase,
    kept: [
      ...[...loaded].map(([nevra, program]) => ({ nevra, because: `${program} loads it` })),
      ...tested.kept,
    ],
  };
}

/**
 * Erases what {@link findErasable} found. Reads the rpmdb back.
 * @param candidates NEVRAs, with those that are gone already
 */
export async function eraseBuildPackages(
  host: Host,
  journal: Journal,
  candidates: readonly string[],
  { erase, kept }: Erasable,
): Promise<Erased> {
  const labels = erase.map(formatNevra);
  if (labels.length > 0) await journal.record({ event: 'erasing', packages: labels });
  const { problems, installed } = await erasePackages(host, erase);
  const still = new Set(installed.map(formatNevra));
  const left = labels.filter((nevra) => still.has(nevra));
  const erased = candidates.filter((nevra) => !still.has(nevra));
  // Where an rpm was killed between a library and its %postun, nobody would take it out of the loader's cache.
  if (erased.length > 0) await host.run(['/sbin/ldconfig']);
  if (labels.length > 0) await journal.record({ event: 'erased', packages: erased });
  return { erased, kept, left, problem: problems[0], installedCount: installed.length };
}

/** Of these packages (NEVRAs), those with a library that a program loads → the program. */
async function loadedPackages(
  host: Host,
  among: ReadonlySet<string>,
  files: Receipt['files'],
): Promise<Map<string, string>> {
  const loadedBy = new Map<string, string>();
  for (const { path: program } of files)
    for (const library of (await librariesOf(host, program).catch(() => undefined))?.found ?? []) {
      loadedBy.set(library, program);
      // rpm knows a file by the path that its package gave it.
      loadedBy.set((await host.realpath(library)) ?? library, program);
    }
  const owners = new Map<string, string>();
  if (among.size === 0 || loadedBy.size === 0) return owners;
  const owning = await packagesOwning(host, [...loadedBy.keys()]);
  // Most often none of them is to go; only then does it matter whose library it is.
  if (!owning.some((nevra) => among.has(formatNevra(nevra)))) return owners;
  for (const [library, program] of loadedBy)
    for (const nevra of (await packagesOwning(host, [library])).map(formatNevra))
      if (among.has(nevra)) owners.set(nevra, program);
  return owners;
}
