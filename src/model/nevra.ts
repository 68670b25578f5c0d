import { z } from 'zod';
import { compareEvr } from './evr.js';

const Part = z
  .string()
  .regex(/^[A-Za-z0-9._+~^-]+$/)
  .max(255);

/** Name, epoch (0 when the header has none), version, release, architecture: what rpm calls an exact package. */
export const Nevra = z.strictObject({
  name: Part,
  epoch: z.int().min(0),
  version: Part,
  release: Part,
  arch: Part,
});
export type Nevra = z.infer<typeof Nevra>;

/** `name-[epoch:]version-release.arch`, as rpm and yum print it. */
export function formatNevra(nevra: Nevra): string {
  const epoch = nevra.epoch === 0 ? '' : `${String(nevra.epoch)}:`;
  return `${nevra.name}-${epoch}${nevra.version}-${nevra.release}.${nevra.arch}`;
}

/** The base name under which an RPM is stored: without the epoch, as in every repository. */
export function rpmFileName(nevra: Nevra): string {
  return `${nevra.name}-${nevra.version}-${nevra.release}.${nevra.arch}.rpm`;
}

/** Order of a list of packages: by name, architecture, then EVR. */
export function compareNevra(a: Nevra, b: Nevra): number {
  return byCodePoint(a.name, b.name) || byCodePoint(a.arch, b.arch) || compareEvr(a, b);
}

/** Locale-independent order of ASCII text; the one order of every list in a bundle. */
export function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
