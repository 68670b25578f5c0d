import { randomBytes } from 'node:crypto';
import { readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Checksums } from '../model/checksums.js';
import { formatChecksums, stemOf } from '../model/checksums.js';
import type { Sha256 } from '../model/grammar.js';
import { folder as names } from '../model/layout.js';
import { fingerprint, keyId, verifySignature } from '../model/signature.js';
import type { Reporter } from '../report.js';
import { parseRaw, rawChecksumsAt } from '../review/signed.js';
import { locate, verify } from '../review/verify.js';
import type { SigningKeyRequest } from './keys.js';
import { openSigningKey, publicKeyOf } from './keys.js';
import { writeDurable } from './pack-folder.js';
import { signChecksums } from './sign.js';
import { unwritable } from './store.js';

export interface SignRequest extends SigningKeyRequest {
  /** The bundle's folder; or its X.sha256 alone, carried to the machine that has the key. */
  readonly bundle: string;
  readonly reporter: Reporter;
}

export interface SignResult {
  readonly checksums: Checksums;
  /** SHA-256 of X.sha256, which is all that the signature is over. */
  readonly digest: Sha256;
  readonly keyId: string;
  readonly fingerprint: string;
  readonly signaturePath: string;
  /** `same`: this key's good signature was there already and stays. */
  readonly state: 'signed' | 'same';
  /** Files that X.sha256 names and that were not here to be compared with it. */
  readonly unchecked: readonly string[];
}

/**
 * One more signer. Of a folder everything is read first: what is signed agrees with X.sha256, down to each
 * member. Of an X.sha256 alone only its form can be checked, and the result says so. Other signers' files are
 * not touched and not asked.
 * @throws BundleError exit 4 when the folder does not agree with its X.sha256; exit 2 or 5 for the key
 */
export async function signBundle(host: ReadHost, request: SignRequest): Promise<SignResult> {
  const key = await openSigningKey(request);
  const signed = await readSigned(host, request);
  const { checksums, digest, directory } = signed;
  const publicKey = publicKeyOf(key);
  const id = keyId(publicKey);
  // Its one form: the bytes that were read and verified.
  const text = formatChecksums(checksums);
  const signaturePath = path.join(directory, names.signature(stemOf(checksums), id));
  const there = await readFile(signaturePath).catch(() => undefined);
  const same = there !== undefined && verifySignature(Buffer.from(text), there, publicKey);
  if (!same) {
    const signature = signChecksums(text, key);
    if (!verifySignature(Buffer.from(text), signature, publicKey))
      throw untrustedError({
        code: 'BAD_SIGNATURE',
        message: 'the new signature does not verify',
        where: request.keyPath,
      });
    await writeSignature(signaturePath, signature);
  }
  return {
    checksums,
    digest,
    keyId: id,
    fingerprint: fingerprint(publicKey),
    signaturePath,
    state: same ? 'same' : 'signed',
    unchecked: signed.unchecked,
  };
}

type Signed = Pick<SignResult, 'checksums' | 'digest' | 'unchecked'> & { readonly directory: string };

async function readSigned(
  host: ReadHost,
  { bundle, reporter }: Pick<SignRequest, 'bundle' | 'reporter'>,
): Promise<Signed> {
  const place = await locate(host, bundle);
  if (place.kind === 'tar') return readChecksumsFile(host, place.path, bundle, reporter);
  const {
    checksums,
    digest,
    path: directory,
  } = await verify(host, {
    place,
    keys: [],
    signers: 'every',
    unsigned: true,
    reporter,
  });
  if (checksums === undefined || digest === undefined)
    throw new Error('a folder was examined without its X.sha256');
  return { checksums, digest, directory, unchecked: [] };
}

/** With the payload beside it, it is signed as the folder that it lies in. */
async function readChecksumsFile(
  host: ReadHost,
  file: string,
  bundle: string,
  reporter: Reporter,
): Promise<Signed> {
  const directory = path.dirname(file);
  const name = path.basename(file);
  if (!name.endsWith(names.checksums('')))
    throw usageError({
      code: 'NO_BUNDLE',
      message: 'a signature is made for a folder or for its .sha256 file, not for the payload alone',
      where: bundle,
      hint: 'Give the folder that "bundle create" made, or the .sha256 file in it.',
    });
  const read = parseRaw(directory, await rawChecksumsAt(host, directory, name));
  const files = read.checksums.files.map((line) => line.name);
  const here = await host.list(directory);
  if (files.every((line) => here.includes(line))) return readSigned(host, { bundle: directory, reporter });
  return { ...read, directory, unchecked: files };
}

/** It appears whole, by one rename. */
async function writeSignature(file: string, bytes: Uint8Array): Promise<void> {
  const temporary = path.join(
    path.dirname(file),
    `.${path.basename(file)}.${randomBytes(6).toString('hex')}`,
  );
  try {
    await writeDurable(temporary, bytes);
    await rename(temporary, file).catch((cause: unknown) => {
      throw unwritable(file, cause);
    });
  } finally {
    await rm(temporary, { force: true });
  }
}
