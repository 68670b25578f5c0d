import { randomBytes } from 'node:crypto';
import { readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Checksums } from '../model/checksums.js';
import { formatChecksums } from '../model/checksums.js';
import type { Sha256 } from '../model/grammar.js';
import { folder as names } from '../model/layout.js';
import { fingerprint, keyId, verifySignature } from '../model/signature.js';
import type { Reporter } from '../report.js';
import { locate, verify } from '../review/verify.js';
import { loadSigningKey, publicKeyOf, readPassphrase } from './keys.js';
import { writeDurable } from './pack-folder.js';
import { signChecksums } from './sign.js';
import { unwritable } from './store.js';

export interface SignRequest {
  readonly folder: string;
  readonly keyPath: string;
  readonly passphraseFile?: string;
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
}

/**
 * One more signer for a bundle folder. The whole folder is read first: what is signed agrees with
 * X.sha256, down to each member. Other signers' files are not touched and not asked.
 * @throws BundleError exit 4 when the folder does not agree with its X.sha256; exit 2 or 5 for the key
 */
export async function signFolder(host: ReadHost, request: SignRequest): Promise<SignResult> {
  const passphrase =
    request.passphraseFile === undefined ? undefined : await readPassphrase(request.passphraseFile);
  const key = await loadSigningKey(request.keyPath, passphrase);
  const place = await locate(host, request.folder);
  if (place.kind !== 'folder')
    throw usageError({
      code: 'NO_BUNDLE',
      message: 'a signature is made for a folder, not for the payload alone',
      where: request.folder,
      hint: 'Give the folder that "bundle create" made.',
    });
  const {
    checksums,
    digest,
    path: directory,
  } = await verify(host, {
    place,
    keys: [],
    signers: 'every',
    unsigned: true,
    reporter: request.reporter,
  });
  if (checksums === undefined || digest === undefined)
    throw new Error('a folder was examined without its X.sha256');
  const publicKey = publicKeyOf(key);
  const id = keyId(publicKey);
  // Its one form: the bytes that were read and verified.
  const text = formatChecksums(checksums);
  const payload = checksums.files[0]?.name ?? '';
  const signaturePath = path.join(
    directory,
    names.signature(payload.slice(0, -names.payload('').length), id),
  );
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
  };
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
