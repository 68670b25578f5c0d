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
import type { TrustedKey } from './keys.js';
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
  readonly signedBy: TrustedKey;
}

/** A signature file in the folder, by what the given keys say about it. */
export interface Signature {
  readonly file: string;
  /** From the file's name: never a proof. */
  readonly keyId: string;
  /** `unknown`: no key with this id was given. */
  readonly state: 'good' | 'bad' | 'unknown';
  /** Of the key that proved it. */
  readonly fingerprint?: string;
}

/**
 * Reads X.sha256 and proves who signed it, from keys that are trusted already. The payload is not opened.
 * @param directory the bundle's folder
 * @throws BundleError exit 4, or 2 when it is no folder
 */
export async function verifyChecksums(
  host: ReadHost,
  directory: string,
  trusted: readonly TrustedKey[],
): Promise<Verified> {
  await requireFolder(host, directory);
  const raw = await rawChecksums(host, directory);
  const signedBy = await signerOf(host, directory, raw, trusted);
  return { ...parseRaw(directory, raw), signedBy };
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
): Promise<Signature[]> {
  const files = (await host.list(directory)).flatMap((file) => {
    const id = /^\.([0-9a-f]{16})\.sig$/.exec(file.startsWith(name) ? file.slice(name.length) : '')?.[1];
    return id === undefined ? [] : [{ file, id }];
  });
  return Promise.all(
    files.map(async ({ file, id }): Promise<Signature> => {
      const key = keys.find((candidate) => candidate.keyId === id);
      if (key === undefined) return { file, keyId: id, state: 'unknown' };
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
 * The first trusted key whose signature is there and right: the file's name comes from the key, never from
 * the folder.
 * @throws BundleError exit 4
 */
export async function signerOf(
  host: ReadHost,
  directory: string,
  { name, bytes }: RawChecksums,
  trusted: readonly TrustedKey[],
): Promise<TrustedKey> {
  const looked: string[] = [];
  for (const key of trusted) {
    const path = join(directory, folder.signature(stemOfFile(name), key.keyId));
    if (await isSignature(host, path, bytes, key)) return key;
    const there = (await host.lstat(path)) !== undefined;
    looked.push(`${plain(path)}: ${there ? 'not a signature of this file by this key' : 'not there'}`);
  }
  throw untrustedError({
    code: 'BAD_SIGNATURE',
    message:
      trusted.length === 0 ? 'no key is trusted on this node yet' : 'no trusted key has signed this bundle',
    where: directory,
    details: looked,
    hint:
      trusted.length === 0
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
