import { z } from 'zod';
import { invalidError } from '../errors.js';
import { Fingerprint, GitObject, Name, Sha256 } from './grammar.js';
import type { Manifest } from './manifest.js';
import { PackageName } from './manifest.js';
import { byCodePoint, Nevra } from './nevra.js';
import { packageName } from './packages.js';
import { plain } from './plain.js';

const LockedRpm = z.strictObject({
  nevra: Nevra,
  sha256: Sha256,
  sizeBytes: z.int().min(0),
  /** OpenPGP fingerprint of the manifest's key that signed it. */
  signer: Fingerprint,
  licence: z.string(),
  summary: z.string(),
  sourceRpm: z.string(),
  /** Where it came from: the manifest's repository id and the path below it; never a mirror's URL. */
  repository: z.string(),
  path: z.string(),
});
export type LockedRpm = z.infer<typeof LockedRpm>;

const LockedSource = z.strictObject({
  component: Name,
  url: z.string(),
  ref: z.string(),
  commit: GitObject,
  tree: GitObject,
  /** SHA-256 of the exported tar. */
  sha256: Sha256,
  sizeBytes: z.int().min(0),
});
export type LockedSource = z.infer<typeof LockedSource>;

const LockedRuntime = z.strictObject({
  /** What was asked for: `npm:NAME@VERSION` or the URL. */
  origin: z.string(),
  version: z.string(),
  /** What the manifest pins: the package's integrity, or the URL's sha256. */
  pinned: z.string(),
  /** The binary's path in it; empty when it is the binary itself. */
  path: z.string(),
  /** Of the binary itself. */
  sha256: Sha256,
  sizeBytes: z.int().min(0),
});
export type LockedRuntime = z.infer<typeof LockedRuntime>;

export const LockSchema = z.strictObject({
  airbundleLock: z.literal(1),
  /** What the RPM set answers: when these differ from the manifest, the lock is out of date. */
  requested: z.strictObject({
    target: z.string(),
    repositories: z.array(z.string()),
    packages: z.array(PackageName),
  }),
  rpms: z.array(LockedRpm),
  sources: z.array(LockedSource),
  runtime: LockedRuntime,
});
export type Lock = z.infer<typeof LockSchema>;

/** What a manifest asks of the repositories, in the lock's own order. */
export function requestOf(manifest: Manifest): Lock['requested'] {
  return {
    target: `${manifest.target.os}.${manifest.target.arch}`,
    repositories: manifest.repositories.map((repository) => repository.id),
    packages: [
      ...new Set(manifest.components.flatMap((component) => component.packages.map(packageName))),
    ].sort(byCodePoint),
  };
}

/**
 * @param manifest the manifest that it belongs to, for what to do next
 * @throws BundleError exit 3
 */
export function parseLock(text: string, file: string, manifest = 'MANIFEST'): Lock {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidError({
      code: 'BAD_LOCK',
      message: plain(`the lock is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`),
      where: file,
      hint: `Take it from version control again, or make it anew: bundle lock ${manifest} --update`,
      cause,
    });
  }
  const parsed = LockSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidError({
    code: 'BAD_LOCK',
    message: 'the lock does not have the form that this version writes',
    where: file,
    details: parsed.error.issues
      .slice(0, 10)
      .map((issue) => plain(`${issue.path.join('.')}: ${issue.message}`)),
    hint: `Take it from version control again, or make it anew: bundle lock ${manifest} --update`,
  });
}

/** One fact a line, sorted: made to be read in a diff. The schema gives the fields their one order. */
export function formatLock(lock: Lock): string {
  return `${JSON.stringify(LockSchema.parse(lock), null, 2)}\n`;
}
