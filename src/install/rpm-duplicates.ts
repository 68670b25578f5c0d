import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';

/** Packages that are meant to be there in several versions (yum's installonlypkgs). */
const SEVERAL_VERSIONS = /^kernel(?:-(?:PAE|bigmem|core|debug|devel|modules|PAE-devel|debug-devel))?$/;

/**
 * Pure: names of which the rpm database holds two versions for one architecture: an update that was cut off, or
 * `rpm -i --force` over another version (FACTS). Whose files lie on the disk nobody can say.
 * @returns one sentence a name
 */
export function duplicatesOf(installed: readonly Nevra[], names: ReadonlySet<string>): string[] {
  const groups = new Map<string, Set<string>>();
  for (const nevra of installed) {
    if (!names.has(nevra.name) || SEVERAL_VERSIONS.test(nevra.name)) continue;
    const key = `${nevra.name}.${nevra.arch}`;
    groups.set(key, (groups.get(key) ?? new Set()).add(formatNevra(nevra)));
  }
  return [...groups.values()]
    .filter((versions) => versions.size > 1)
    .map((versions) => {
      const all = [...versions].sort();
      return `the rpm database holds ${all.join(' and ')}: find out whose files are there (rpm -V ${all.join(' ')}), then take the other one out: rpm -e --justdb --noscripts --nodeps NAME-VERSION-RELEASE.ARCH`;
    });
}
