import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Checksums } from '../model/checksums.js';
import { MAX_CHECKSUMS_BYTES, parseChecksums, stemOf } from '../model/checksums.js';
import { Sha256 } from '../model/grammar.js';
import { folder } from '../model/layout.js';
import { plain } from '../model/plain.js';
import { MAX_SIGNATURE_BYTES, verifySignature } from '../model/signature.js';
import type { StoredKey, Trust, TrustedKey } from './keys.js';
import { readSmall } from './small-file.js';

/** X.sha256 as it lies in the folder, nothing of it believed yet. */
export interface RawChecksums {
  readonly name: string;
  /** What a signature is over. */
  readonly bytes: Buffer;
}

export interface ReadChecksums {
  readonly checksums: Checksums;
  /** SHA-256 of X.sha256: names this signed bundle. */
  readonly digest: Sha256;
}

export interface Verified extends ReadChecksums {
  /** The first of the signers. */
  readonly signedBy: TrustedKey;
  /** Every trusted key that has signed; at least as many as the threshold. */
  readonly signers: readonly TrustedKey[];
}

/** A signature file in the folder, by what the given keys say about it. */
export interface Signature {
  readonly file: string;
  /** From the file's name: never a proof. */
  readonly keyId: string;
  /** `unknown`: no key with this id was given. `removed`: it was, and is not trusted here any more. */
  readonly state: 'good' | 'bad' | 'unknown' | 'removed';
  /** Of the key that proved it. */
  readonly fingerprint?: string;
}

/**
 * Reads X.sha256 and proves who signed it, from keys that are trusted already. The payload is not opened.
 * @param directory the bundle's folder
 * @throws BundleError exit 4, or 2 when it is no folder
 */
export async function verifyChecksums(host: ReadHost, directory: string, trust: Trust): Promise<Verified> {
  await requireFolder(host, directory);
  const raw = await rawChecksums(host, directory);
  const signers = await requireSigners(host, directory, raw, trust);
  return { ...parseRaw(directory, raw), signedBy: signers[0], signers };
}

async function requireFolder(host: ReadHost, directory: string): Promise<void> {
  const real = await host.realpath(directory);
  const kind = real === undefined ? undefined : (await host.lstat(real))?.kind;
  if (kind === 'directory') return;
  throw usageError({
    code: 'NO_FOLDER',
    message:
      kind === undefined ? 'there is no such folder' : 'this is a file; the folder of the bundle is wanted',
    where: directory,
    hint:
      kind === undefined
        ? 'Is the medium mounted? See: findmnt; ls -l'
        : `Give the folder with all four files: ${dirname(directory)}`,
  });
}

/** The one file in the folder whose name ends in .sha256. @throws BundleError exit 4 */
export async function rawChecksums(host: ReadHost, directory: string): Promise<RawChecksums> {
  const names = (await host.list(directory)).filter((name) => name.endsWith('.sha256'));
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw untrustedError({
      code: 'NO_BUNDLE',
      message:
        name === undefined
          ? 'there is no bundle here: no .sha256 file'
          : `there are several bundles here: ${names.slice(0, 10).map(plain).join(', ')}`,
      where: directory,
      hint: 'Give the folder that "bundle create" made, with its four files.',
    });
  return rawChecksumsAt(host, directory, name);
}

/** @throws BundleError exit 4 */
export async function rawChecksumsAt(host: ReadHost, directory: string, name: string): Promise<RawChecksums> {
  const bytes = await readSmall(host, join(directory, name), MAX_CHECKSUMS_BYTES);
  return { name, bytes: bytes ?? Buffer.alloc(0) };
}

/** @throws BundleError exit 4 */
export function parseRaw(directory: string, { name, bytes }: RawChecksums): ReadChecksums {
  const path = join(directory, plain(name));
  const checksums = parseChecksums(bytes.toString('utf8'), path);
  if (stemOf(checksums) !== stemOfFile(name))
    throw untrustedError({
      code: 'RENAMED',
      message: `the file is named ${plain(name)}, but its first line says ${stemOf(checksums)}`,
      where: path,
      hint: 'Give the files their own names again.',
    });
  return { checksums, digest: Sha256.parse(createHash('sha256').update(bytes).digest('hex')) };
}

/** Every signature file of X.sha256 in the folder. */
export async function signaturesIn(
  host: ReadHost,
  directory: string,
  { name, bytes }: RawChecksums,
  keys: readonly TrustedKey[],
  removed: readonly StoredKey[] = [],
): Promise<Signature[]> {
  const files = (await host.list(directory)).flatMap((file) => {
    const id = /^\.([0-9a-f]{16})\.sig$/.exec(file.startsWith(name) ? file.slice(name.length) : '')?.[1];
    return id === undefined ? [] : [{ file, id }];
  });
  return Promise.all(
    files.map(async ({ file, id }): Promise<Signature> => {
      const key = keys.find((candidate) => candidate.keyId === id);
      if (key === undefined)
        return { file, keyId: id, state: removed.some((one) => one.keyId === id) ? 'removed' : 'unknown' };
      const good = await isSignature(host, join(directory, file), bytes, key);
      return {
        file,
        keyId: id,
        state: good ? 'good' : 'bad',
        ...(good ? { fingerprint: key.fingerprint } : {}),
      };
    }),
  );
}

function stemOfFile(name: string): string {
  return name.slice(0, -folder.checksums('').length);
}

/**
 * The trusted keys that have signed, when they are as many as the threshold asks for. A key counts once: the
 * signature file's name comes from the key, never from the folder.
 * @throws BundleError exit 4 that says which trusted key has signed and which has not
 */
export async function requireSigners(
  host: ReadHost,
  directory: string,
  raw: RawChecksums,
  { trusted, removed, threshold }: Trust,
): Promise<readonly [TrustedKey, ...TrustedKey[]]> {
  const looked = await Promise.all(trusted.map((key) => lookFor(host, directory, raw, key)));
  const [first, ...others] = looked.filter(({ good }) => good).map(({ key }) => key);
  if (first !== undefined && others.length + 1 >= threshold) return [first, ...others];
  const gone = await Promise.all(
    removed.map(async (key) => ({ ...key, good: (await lookFor(host, directory, raw, key)).good })),
  );
  throw notSigned(directory, looked, first === undefined ? 0 : others.length + 1, threshold, gone);
}

interface Looked {
  readonly key: TrustedKey;
  readonly good: boolean;
  /** In words. */
  readonly found: string;
}

async function lookFor(
  host: ReadHost,
  directory: string,
  { name, bytes }: RawChecksums,
  key: TrustedKey,
): Promise<Looked> {
  const path = join(directory, folder.signature(stemOfFile(name), key.keyId));
  if (await isSignature(host, path, bytes, key)) return { key, good: true, found: plain(path) };
  const there = (await host.lstat(path)) !== undefined;
  return {
    key,
    good: false,
    found: `${plain(path)}: ${there ? 'not a signature of this file by this key' : 'not there'}`,
  };
}

function notSigned(
  directory: string,
  looked: readonly Looked[],
  count: number,
  threshold: number,
  removed: readonly (StoredKey & { readonly good: boolean })[],
): Error {
  const gone = removed.filter(({ good }) => good);
  const details = [
    ...looked.map(({ key, good, found }) =>
      good ? `signed by ${key.keyId}` : `not signed by ${key.keyId}: ${found}`,
    ),
    ...gone.map(({ keyId, since }) => `signed by ${keyId}, which does not count: removed here on ${since}`),
  ];
  const needed =
    threshold === 1 ? '' : `; ${String(threshold)} of ${String(looked.length)} trusted keys must sign`;
  const [removedKey] = gone;
  if (count === 0 && removedKey !== undefined)
    return untrustedError({
      code: 'SIGNER_REMOVED',
      message: `this bundle is signed by ${removedKey.keyId}, which was removed from this node's trusted keys on ${removedKey.since}, and by no trusted key${needed}`,
      where: directory,
      details,
      hint: 'Ask the packager for a signature by a key that is trusted here (airbundle trust list): bundle sign makes one from the .sha256 file alone; put the .sig file into the folder.',
    });
  if (count > 0)
    return untrustedError({
      code: 'TOO_FEW_SIGNERS',
      message: `${String(count)} of the ${String(threshold)} signatures that this node requires ${count === 1 ? 'is' : 'are'} there`,
      where: directory,
      details,
      hint: 'Ask the missing signers to sign the .sha256 file (bundle sign X.sha256 --key …) and put their .sig files into the folder.',
    });
  return untrustedError({
    code: 'BAD_SIGNATURE',
    message:
      looked.length === 0
        ? 'no key is trusted on this node yet'
        : `no trusted key has signed this bundle${needed}`,
    where: directory,
    details,
    hint:
      looked.length === 0
        ? 'The first installation is: sh install.sh --key packager.pub.pem --fingerprint F …'
        : 'The folder is damaged, or another key signed it. Copy it again from its origin; ask the packager for the fingerprint of the key.',
  });
}

async function isSignature(
  host: ReadHost,
  path: string,
  bytes: Uint8Array,
  key: TrustedKey,
): Promise<boolean> {
  const facts = await host.lstat(path);
  if (facts?.kind !== 'file' || facts.sizeBytes > MAX_SIGNATURE_BYTES) return false;
  const signature = await host.read(path);
  return signature !== undefined && verifySignature(bytes, signature, key.key);
}
