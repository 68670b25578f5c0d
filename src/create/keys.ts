import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { access, mkdir, open, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { BundleError, refusedError, usageError } from '../errors.js';
import { octal } from '../model/octal.js';
import { describeKey, fingerprint, isP256, keyId } from '../model/signature.js';
import { ifThere, readBounded, reasonOf } from './read-bounded.js';
import { unwritable } from './store.js';

export interface KeygenRequest {
  /** `PREFIX.key.pem` and `PREFIX.pub.pem` are written; missing folders are made. */
  readonly prefix: string;
  /** Its first line encrypts the private key. */
  readonly passphraseFile?: string;
  /** Asks a person for the passphrase that encrypts it, instead of a file. */
  readonly askPassphrase?: () => Promise<string>;
}

export interface SigningKeyRequest {
  readonly keyPath: string;
  /** The key's passphrase on its first line. */
  readonly passphraseFile?: string;
  /** Asks a person, when the key turns out to have a passphrase and no file has it. */
  readonly askPassphrase?: (question: string) => Promise<string>;
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
    request.passphraseFile === undefined
      ? await request.askPassphrase?.()
      : await readPassphrase(request.passphraseFile);

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
 * The private key that signs, with its passphrase from a file or from a person who is asked for it.
 * @throws BundleError as loadSigningKey
 */
export async function openSigningKey(request: SigningKeyRequest): Promise<KeyObject> {
  const { keyPath, passphraseFile, askPassphrase } = request;
  if (passphraseFile !== undefined) return loadSigningKey(keyPath, await readPassphrase(passphraseFile));
  return loadSigningKey(keyPath).catch(async (error: unknown) => {
    if (!(error instanceof BundleError && error.code === 'PASSPHRASE_NEEDED') || askPassphrase === undefined)
      throw error;
    return loadSigningKey(keyPath, await askPassphrase(`Passphrase of ${keyPath}: `));
  });
}

/**
 * The private key that signs.
 * @throws BundleError exit 2: missing, of another type, wrong passphrase; exit 5: others may read it
 */
export async function loadSigningKey(file: string, passphrase?: string): Promise<KeyObject> {
  const { pem, mode } = await readKeyFile(file);
  // What it is comes first: nobody has to protect a public key, or mend a file that is the wrong one.
  requirePrivatePem(pem, file);
  const encrypted = pem.includes('ENCRYPTED');
  const open = (): KeyObject => requireP256(openKey(pem, file, passphrase, encrypted), file);
  const readable = encrypted ? undefined : open();
  requireOwnerOnly(mode, file);
  return readable ?? open();
}

/** Hostile inputs: a key in PEM has a few hundred bytes. */
const MAX_PEM_BYTES = 64 * 1024;

async function readKeyFile(file: string): Promise<{ readonly pem: string; readonly mode: number }> {
  try {
    const found = await ifThere(stat(file));
    if (found === undefined)
      throw usageError({
        code: 'NO_KEY',
        message: 'there is no such signing key',
        where: file,
        hint: `Check the path, or make a key: bundle keygen --out ${prefixOf(file)}`,
      });
    const bytes = await readBounded(file, MAX_PEM_BYTES);
    return { pem: bytes.toString('utf8'), mode: found.mode };
  } catch (cause) {
    if (cause instanceof BundleError) throw cause;
    throw usageError({
      code: 'KEY_UNREADABLE',
      message: `the signing key cannot be read: ${reasonOf(cause)}`,
      where: file,
      hint: `See whose it is, and give the .key.pem file that "bundle keygen" wrote: ls -l ${file}`,
      cause,
    });
  }
}

/** What "bundle keygen --out" takes to write this file. */
function prefixOf(file: string): string {
  return file.replace(/(?:\.key)?\.pem$/, '');
}

function requireOwnerOnly(mode: number, file: string): void {
  if ((mode & 0o077) === 0) return;
  throw refusedError({
    code: 'KEY_READABLE',
    message: `others may read the signing key (mode ${octal(mode & 0o777)})`,
    where: file,
    hint: `If nobody else has had it: chmod 600 ${file}`,
  });
}

function requireP256(key: KeyObject, file: string): KeyObject {
  if (isP256(key)) return key;
  throw usageError({
    code: 'WRONG_KEY_TYPE',
    message: `a P-256 key is wanted; this is ${describeKey(key)}`,
    where: file,
    hint: "EL7's openssl 1.0.2 has to verify the signature. Make a key: bundle keygen --out keys/packager",
  });
}

/** The first line of the file. @throws BundleError exit 2 */
async function readPassphrase(file: string): Promise<string> {
  const bytes = await readBounded(file, MAX_PEM_BYTES).catch((cause: unknown) => {
    throw usageError({
      code: 'NO_PASSPHRASE',
      message: `the passphrase file cannot be read: ${reasonOf(cause)}`,
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  });
  const line = (bytes.toString('utf8').split('\n')[0] ?? '').replace(/\r$/, '');
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

function requirePrivatePem(pem: string, where: string): void {
  const what = pem.includes('BEGIN OPENSSH PRIVATE KEY-----')
    ? 'this is a key of OpenSSH, not one for signatures'
    : pem.includes('PUBLIC KEY-----')
      ? 'this is a public key; signing takes the private one'
      : 'this is not a private key in PEM';
  if (pem.includes('PRIVATE KEY-----') && !pem.includes('BEGIN OPENSSH')) return;
  throw usageError({
    code: 'WRONG_KEY_TYPE',
    message: pem.trim() === '' ? 'the file is empty' : what,
    where,
    hint: 'Give the .key.pem file that "bundle keygen" wrote.',
  });
}

function openKey(pem: string, where: string, passphrase: string | undefined, encrypted: boolean): KeyObject {
  if (encrypted && passphrase === undefined)
    throw usageError({
      code: 'PASSPHRASE_NEEDED',
      message: 'the signing key has a passphrase',
      where,
      hint: 'Run this on a terminal to be asked for it, or write it on the first line of a file that only you can read (chmod 600), and add: --passphrase-file FILE',
    });
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch (cause) {
    throw usageError({
      code: encrypted ? 'WRONG_PASSPHRASE' : 'KEY_UNREADABLE',
      message: encrypted ? 'the passphrase does not open the signing key' : 'the signing key is damaged',
      where,
      hint: encrypted
        ? 'Type it again, or check the first line of the passphrase file: a blank at its end counts.'
        : 'Take it from its backup.',
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
