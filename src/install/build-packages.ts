import type { Host } from '../host/host.js';
import { formatNevra } from '../model/nevra.js';
import type { Journal } from './journal.js';
import { librariesOf } from './libraries.js';
import type { Receipt } from './receipt.js';
import { installedPackages, parsePackages, RPM_QUERY } from './rpm.js';
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
}

/**
 * Erases packages that this program added for the build, except for those that something else needs: a library
 * of an installed file, or what `rpm -e --test` says. Reads the rpmdb back.
 * @param candidates NEVRAs
 */
export async function eraseBuildPackages(
  host: Host,
  journal: Journal,
  candidates: readonly string[],
  files: Receipt['files'],
): Promise<Erased> {
  const wanted = new Set(candidates);
  const there = (await installedPackages(host)).filter((nevra) => wanted.has(formatNevra(nevra)));
  const owners = await libraryOwners(host, files);
  const kept = there
    .map(formatNevra)
    .flatMap((nevra) =>
      owners.has(nevra) ? [{ nevra, because: `${owners.get(nevra) ?? ''} loads it` }] : [],
    );
  const free = there.filter((nevra) => !owners.has(formatNevra(nevra)));
  const tested = await testErase(host, free);
  kept.push(...tested.kept);
  const labels = tested.erase.map(formatNevra);
  if (labels.length > 0) await journal.record({ event: 'erasing', packages: labels });
  const problems = await erasePackages(host, tested.erase);
  const still = new Set((await installedPackages(host)).map(formatNevra));
  const left = labels.filter((nevra) => still.has(nevra));
  const erased = candidates.filter((nevra) => !still.has(nevra));
  // Where an rpm was killed between a library and its %postun, nobody would take it out of the loader's cache.
  if (erased.length > 0) await host.run(['/sbin/ldconfig']);
  if (labels.length > 0) await journal.record({ event: 'erased', packages: erased });
  return { erased, kept, left, problem: problems[0] };
}

/** The owners (NEVRA) of the libraries that the installed programs load → the program. */
async function libraryOwners(host: Host, files: Receipt['files']): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  for (const { path } of files) {
    const libraries = await librariesOf(host, path).catch(() => undefined);
    for (const library of libraries?.found ?? [])
      for (const name of new Set([library, (await host.realpath(library)) ?? library])) {
        const result = await host.run(['rpm', '-qf', '--queryformat', RPM_QUERY, name]);
        if (result.exitCode !== 0) continue;
        for (const nevra of parsePackages(result.stdout)) owners.set(formatNevra(nevra), path);
      }
  }
  return owners;
}
