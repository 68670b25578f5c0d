import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { refusedError, untrustedError, usageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Checksums } from '../model/checksums.js';
import { MAX_CHECKSUMS_BYTES, parseChecksums, stemOf } from '../model/checksums.js';
import { Sha256 } from '../model/grammar.js';
import { folder, target } from '../model/layout.js';
import {
  fingerprint,
  keyId,
  MAX_SIGNATURE_BYTES,
  parsePublicKey,
  verifySignature,
} from '../model/signature.js';
import type { Receipt } from './receipt.js';

export interface TrustedKey {
  readonly keyId: string;
  readonly fingerprint: string;
  readonly pem: string;
  readonly key: KeyObject;
}

/** The keys in the trust store. @throws BundleError exit 4 when one cannot be read */
export async function trustStore(host: Host): Promise<TrustedKey[]> {
  const names = (await host.list(target.trust)).filter((name) => name.endsWith('.pem'));
  return Promise.all(
    names.map(async (name) => {
      const path = join(target.trust, name);
      return readKey((await host.read(path))?.toString('utf8') ?? '', path);
    }),
  );
}

export function readKey(pem: string, where: string): TrustedKey {
  const key = parsePublicKey(pem, where);
  return { key, pem, keyId: keyId(key), fingerprint: fingerprint(key) };
}

export interface Verified {
  readonly checksums: Checksums;
  /** SHA-256 of X.sha256: names this signed bundle. */
  readonly digest: Sha256;
  readonly signedBy: TrustedKey;
}

/**
 * Reads X.sha256 and proves who signed it, from keys that are trusted already. The payload is not opened.
 * @param directory the bundle's folder
 * @throws BundleError exit 4, or 2 when it is no bundle folder
 */
export async function verifyChecksums(
  host: Host,
  directory: string,
  trusted: readonly TrustedKey[],
): Promise<Verified> {
  await requireFolder(host, directory);
  const names = (await host.list(directory)).filter((name) => name.endsWith('.sha256'));
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw untrustedError({
      code: 'NO_BUNDLE',
      message:
        name === undefined
          ? 'there is no bundle here: no .sha256 file'
          : `there are several bundles here: ${names.join(', ')}`,
      where: directory,
      hint: 'Give the folder that "bundle create" made, with its four files.',
    });
  const path = join(directory, name);
  const facts = await host.lstat(path);
  if (facts?.kind !== 'file')
    throw untrustedError({
      code: 'BAD_CHECKSUMS',
      message: 'the checksum file is not a regular file',
      where: path,
      hint: 'Copy the folder again from its origin, without links.',
    });
  const size = facts.sizeBytes;
  if (size > MAX_CHECKSUMS_BYTES)
    throw untrustedError({
      code: 'BAD_CHECKSUMS',
      message: `${String(size)} bytes are too many for a checksum file`,
      where: path,
      hint: 'The folder is damaged or was not made by airbundle: copy it again from its origin.',
    });
  const bytes = (await host.read(path)) ?? Buffer.alloc(0);
  const stem = name.slice(0, -'.sha256'.length);
  const signedBy = await signerOf(host, directory, stem, bytes, trusted);
  const checksums = parseChecksums(bytes.toString('utf8'), path);
  if (stemOf(checksums) !== stem)
    throw untrustedError({
      code: 'RENAMED',
      message: `the file is named ${name}, but its first line says ${stemOf(checksums)}`,
      where: path,
      hint: 'Give the files their own names again.',
    });
  return { checksums, digest: Sha256.parse(createHash('sha256').update(bytes).digest('hex')), signedBy };
}

async function requireFolder(host: Host, directory: string): Promise<void> {
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

/** The first trusted key whose signature is there and right: the file's name comes from the key, never from the folder. */
async function signerOf(
  host: Host,
  directory: string,
  stem: string,
  bytes: Uint8Array,
  trusted: readonly TrustedKey[],
): Promise<TrustedKey> {
  const looked: string[] = [];
  for (const key of trusted) {
    const path = join(directory, folder.signature(stem, key.keyId));
    const facts = await host.lstat(path);
    const signature =
      facts?.kind === 'file' && facts.sizeBytes <= MAX_SIGNATURE_BYTES ? await host.read(path) : undefined;
    if (signature !== undefined && verifySignature(bytes, signature, key.key)) return key;
    looked.push(`${path}: ${facts === undefined ? 'not there' : 'not a signature of this file by this key'}`);
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

/**
 * An older release, or another bundle under the same number, is refused; going back is `rollback`.
 * @throws BundleError exit 5
 */
export function requireSequence(checksums: Checksums, digest: Sha256, receipt: Receipt | undefined): void {
  if (receipt === undefined || receipt.digest === digest) return;
  const committed = receipt.contents;
  if (checksums.name !== committed.name)
    throw refusedError({
      code: 'OTHER_BUNDLE',
      message: `${committed.name} ${committed.version} is installed here; this is ${checksums.name} ${checksums.version}`,
      hint: 'One bundle a node: take the release of the bundle that is installed here.',
    });
  if (checksums.sequence > committed.sequence) return;
  const same = checksums.sequence === committed.sequence;
  throw refusedError({
    code: same ? 'SEQUENCE_EQUAL' : 'SEQUENCE_LOWER',
    message: same
      ? `this bundle has sequence ${String(checksums.sequence)}, as the installed ${committed.name} ${committed.version}, but is another one`
      : `this bundle has sequence ${String(checksums.sequence)}; ${committed.name} ${committed.version} with ${String(committed.sequence)} is installed`,
    hint: 'Ask the packager for a release with a higher sequence.',
  });
}
