import { createHash, scryptSync } from 'node:crypto';

const GUARDED = 'scrypt:';
/** 32 MiB and about a tenth of a second a try. */
const COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const;

/**
 * The digest of a file of which everything but a short secret is known: from a plain SHA-256 the secret could be
 * tried out in no time. The path is the salt, so that a node and a desk come to the same.
 */
export function guardedDigest(path: string, sha256: string): string {
  return GUARDED + scryptSync(sha256, `airbundle ${path}`, 32, COST).toString('hex');
}

export function sha256Hex(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Whether a digest, guarded or not, is that of this content. */
export function isDigestOf(digest: string | undefined, path: string, content: string): boolean {
  if (digest === undefined) return false;
  const plain = sha256Hex(content);
  return digest === (digest.startsWith(GUARDED) ? guardedDigest(path, plain) : plain);
}

/** The digest as it may leave the node. */
export function shownDigest(path: string, digest: string, secret: boolean): string {
  return secret && !digest.startsWith(GUARDED) ? guardedDigest(path, digest) : digest;
}
