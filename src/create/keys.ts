import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { access, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { refusedError, usageError } from '../errors.js';
import { describeKey, fingerprint, isP256, keyId } from '../model/signature.js';
import { unwritable } from './store.js';

export interface KeygenRequest {
  /** `PREFIX.key.pem` and `PREFIX.pub.pem` are written; missing folders are made. */
  readonly prefix: string;
  /** Its first line encrypts the private key. */
  readonly passphraseFile?: string;
}

export interface KeygenResult {
  readonly keyPath: string;
  readonly publicKeyPath: string;
  readonly keyId: string;
  /** 64 hex digits; `formatFingerprint` groups them. */
  readonly fingerprint: string;
}

/**
 * Makes a signing key: ECDSA P-256, PKCS#8 and SPKI in PEM. Never writes over a file.
 * @throws BundleError exit 5 when one of the files exists
 */
export async function keygen(request: KeygenRequest): Promise<KeygenResult> {
  const keyPath = `${request.prefix}.key.pem`;
  const publicKeyPath = `${request.prefix}.pub.pem`;
  for (const file of [keyPath, publicKeyPath])
    if (
      await access(file).then(
        () => true,
        () => false,
      )
    )
      throw keyExists(file);
  const passphrase =
    request.passphraseFile === undefined ? undefined : await readPassphrase(request.passphraseFile);

  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const encryption = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  await mkdir(path.dirname(keyPath), { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw unwritable(path.dirname(keyPath), cause);
  });
  await writeNew(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem', ...encryption }), 0o600);
  try {
    await writeNew(publicKeyPath, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  } catch (error) {
    await rm(keyPath, { force: true });
    throw error;
  }
  return { keyPath, publicKeyPath, keyId: keyId(publicKey), fingerprint: fingerprint(publicKey) };
}

/**
 * The private key that signs.
 * @throws BundleError exit 2: missing, of another type, wrong passphrase; exit 5: others may read it
 */
export async function loadSigningKey(file: string, passphrase?: string): Promise<KeyObject> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile() !== true)
    throw usageError({
      code: 'NO_KEY',
      message: 'there is no such signing key',
      where: file,
      hint: 'Make one with: bundle keygen --out PREFIX',
    });
  if ((found.mode & 0o077) !== 0)
    throw refusedError({
      code: 'KEY_READABLE',
      message: `others may read the signing key (mode ${(found.mode & 0o777).toString(8).padStart(4, '0')})`,
      where: file,
      hint: `If nobody else has had it: chmod 600 ${file}`,
    });
  const pem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw usageError({
      code: 'KEY_UNREADABLE',
      message: 'the signing key cannot be read',
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  });
  const key = parsePrivateKey(pem, file, passphrase);
  if (!isP256(key))
    throw usageError({
      code: 'WRONG_KEY_TYPE',
      message: `a P-256 key is wanted; this is ${describeKey(key)}`,
      where: file,
      hint: "EL7's openssl 1.0.2 has to verify the signature. Make a key with: bundle keygen --out PREFIX",
    });
  return key;
}

/** The first line of the file. @throws BundleError exit 2 */
export async function readPassphrase(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw usageError({
      code: 'NO_PASSPHRASE',
      message: 'the passphrase file cannot be read',
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  });
  const line = (text.split('\n')[0] ?? '').replace(/\r$/, '');
  if (line === '')
    throw usageError({
      code: 'NO_PASSPHRASE',
      message: 'the first line of the passphrase file is empty',
      where: file,
      hint: 'Write the passphrase on its first line.',
    });
  return line;
}

/** The public half of a signing key. */
export function publicKeyOf(key: KeyObject): KeyObject {
  return createPublicKey(key);
}

function parsePrivateKey(pem: string, where: string, passphrase: string | undefined): KeyObject {
  if (!pem.includes('PRIVATE KEY-----'))
    throw usageError({
      code: 'WRONG_KEY_TYPE',
      message: pem.includes('PUBLIC KEY-----')
        ? 'this is a public key; signing takes the private one'
        : 'this is not a private key in PEM',
      where,
      hint: 'Give the .key.pem file that "bundle keygen" wrote.',
    });
  const encrypted = pem.includes('ENCRYPTED');
  if (encrypted && passphrase === undefined)
    throw usageError({
      code: 'PASSPHRASE_NEEDED',
      message: 'the signing key has a passphrase',
      where,
      hint: 'Give --passphrase-file FILE.',
    });
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch (cause) {
    throw usageError({
      code: encrypted ? 'WRONG_PASSPHRASE' : 'KEY_UNREADABLE',
      message: encrypted ? 'the passphrase does not open the signing key' : 'the signing key is damaged',
      where,
      hint: encrypted ? 'Check the first line of the passphrase file.' : 'Take it from its backup.',
      cause,
    });
  }
}

async function writeNew(file: string, text: string | Buffer, mode: number): Promise<void> {
  const handle = await open(file, 'wx', mode).catch((cause: unknown) => {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST' ? keyExists(file) : unwritable(file, cause);
  });
  try {
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } catch (cause) {
    await rm(file, { force: true });
    throw unwritable(file, cause);
  } finally {
    await handle.close();
  }
}

function keyExists(file: string): Error {
  return refusedError({
    code: 'KEY_EXISTS',
    message: 'there is a key already; a key that is lost cannot be made again',
    where: file,
    hint: 'Choose another prefix, or move the old pair away.',
  });
}
