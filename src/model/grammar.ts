import { z } from 'zod';
import { isReserved, leadsToReserved, RESERVED } from './layout.js';

/*
 * The grammar of every string that a person writes and that ends up in a file name, a command or a
 * generated configuration: a closed set of characters for each, so that nothing can start another
 * line, quote, option or variable.
 */

/** Names of components, services, nodes, backends: also used as file names and haproxy identifiers. */
export const Name = z
  .string()
  .regex(
    /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/,
    'must be lower-case letters, digits and single hyphens, beginning with a letter',
  )
  .max(48, 'must have at most 48 characters');

/** A version as a person writes it; part of file names. */
export const Version = z
  .string()
  .regex(/^[0-9][0-9A-Za-z.+_]*$/, 'must begin with a digit and hold only letters, digits, ".", "+", "_"')
  .max(48, 'must have at most 48 characters');

/** Lower-case hex SHA-256, 64 characters. */
export const Sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in 64 lower-case hex digits')
  .brand<'Sha256'>();
export type Sha256 = z.infer<typeof Sha256>;

/** A git object name in full (SHA-1). */
export const GitObject = z
  .string()
  .regex(/^[0-9a-f]{40}$/, 'must be a full commit id: 40 lower-case hex digits')
  .brand<'GitObject'>();
export type GitObject = z.infer<typeof GitObject>;

/** A member of a bundle: relative, no dot segments, plain ASCII, at most 100 bytes (ustar's name field). */
export const BundlePath = z
  .string()
  .regex(
    /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._+~^-]+(?:\/[A-Za-z0-9._+~^-]+)*$/,
    'must be a relative path inside the bundle',
  )
  .max(100, 'must have at most 100 characters')
  .brand<'BundlePath'>();
export type BundlePath = z.infer<typeof BundlePath>;

/** An absolute path on the target, without dot segments, spaces or shell characters. */
export const TargetPath = z
  .string()
  .regex(
    /^(?!.*\/\.{1,2}(?:\/|$))(?:\/[A-Za-z0-9._+@:~-]+)+$/,
    'must be an absolute path of plain characters, without "." or ".." parts',
  )
  .max(255, 'must have at most 255 characters');

/** The same with `*`, `**`, `?` and `{a,b}`: matched by fast-glob against what a build installs. */
export const TargetGlob = z
  .string()
  .regex(
    /^(?!.*\/\.{1,2}(?:\/|$))(?:\/[A-Za-z0-9._+@:~*?{},-]+)+$/,
    'must be an absolute path or glob of plain characters, without "." or ".." parts',
  )
  .max(255, 'must have at most 255 characters');

/** A path that a bundle may write to. */
export const PlacedPath = TargetPath.refine((path) => !isReserved(path), RESERVED);

/** Globs of such paths. What one with `*` or `{a,b}` matches is seen only after the build (install/build.ts). */
export const PlacedGlob = TargetGlob.refine((glob) => !isReserved(beforeMagic(glob)), RESERVED);

/** Where a link may lead: nothing that is written later goes through it to a place that is kept. */
export const LinkTarget = TargetPath.refine(
  (to) => !leadsToReserved(to),
  "leads to airbundle's own place, or to a folder around it",
);

/** The folders (or the whole path) that a glob names literally. */
function beforeMagic(glob: string): string {
  const parts = glob.split('/');
  const magic = parts.findIndex((part) => /[*?{}]/.test(part));
  return parts.slice(0, magic === -1 ? parts.length : magic).join('/');
}

/** An OpenPGP v4 fingerprint; spaces and lower case are accepted. Value: 40 upper-case hex digits. */
export const Fingerprint = z
  .string()
  .transform((text) => text.replaceAll(' ', '').toUpperCase())
  .pipe(z.string().regex(/^[0-9A-F]{40}$/, 'must be an OpenPGP fingerprint: 40 hex digits'));
