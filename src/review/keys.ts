import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { BundleError, refusedError, untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import { target } from '../model/layout.js';
import { octal } from '../model/octal.js';
import {
  fingerprint,
  formatFingerprint,
  keyId,
  parseFingerprint,
  parsePublicKey,
} from '../model/signature.js';
import { readSmall } from './small-file.js';

export interface TrustedKey {
  readonly keyId: string;
  readonly fingerprint: string;
  readonly pem: string;
  readonly key: KeyObject;
}

/** A file of a machine's trust store. */
export interface StoredKey extends TrustedKey {
  readonly path: string;
  /** UTC, to the second; for a person, nothing is decided by it. */
  readonly since: string;
}

/** Whose signatures count, and how many of them. */
export interface Trust {
  /** No two of them are the same key, and none of them was removed. */
  readonly trusted: readonly TrustedKey[];
  readonly removed: readonly StoredKey[];
  /** So many of the trusted keys must have signed. */
  readonly threshold: number;
}

/** Trust as a machine keeps it. */
export interface TrustStore extends Trust {
  readonly trusted: readonly StoredKey[];
  /** Files of trusted keys that are not the first of their key, or whose key was removed. */
  readonly idle: readonly StoredKey[];
}

/** Hostile inputs: a public key on P-256 takes under 200 bytes. */
export const MAX_KEY_BYTES = 16 * 1024;
const MAX_THRESHOLD_BYTES = 16;
/** Permission bits that let others than the owner write. */
const WRITABLE_BY_OTHERS = 0o022;

export function readKey(pem: string, where: string): TrustedKey {
  const key = parsePublicKey(pem, where);
  return { key, pem, keyId: keyId(key), fingerprint: fingerprint(key) };
}

/**
 * This machine's trust store; without one nothing is trusted. What others than root could have put there
 * is not trust, and a key that was removed counts as removed wherever else it lies.
 * @throws BundleError exit 4 when a key cannot be read; exit 5 when others can write the store, or its
 * threshold is none
 */
export async function trustStore(host: ReadHost): Promise<TrustStore> {
  return { ...(await trustStoreKeys(host)), threshold: await asRoot(() => readThreshold(host)) };
}

/** The same for who mends the threshold: what stands in its file is not read. */
export async function trustStoreKeys(host: ReadHost): Promise<Omit<TrustStore, 'threshold'>> {
  return asRoot(async () => {
    await requirePrivateStore(host);
    const removed = await keysIn(host, target.removedKeys);
    for (const key of removed) requireOwnName(key);
    const files = await keysIn(host, target.trust);
    const trusted = files.filter(
      (key, index) =>
        !removed.some((other) => other.fingerprint === key.fingerprint) &&
        files.findIndex((other) => other.fingerprint === key.fingerprint) === index,
    );
    return { trusted, removed, idle: files.filter((key) => !trusted.includes(key)) };
  });
}

async function asRoot<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EACCES')) throw cause;
    throw refusedError({
      code: 'NOT_ROOT',
      message: "only root may read this node's trusted keys",
      where: target.trust,
      hint: 'Run it again with sudo.',
      cause,
    });
  }
}

/** What stands above a removed key's PEM: a restored backup would lose the file's own date. */
const REMOVED_LINE = /^# removed here ([0-9TZ:+-]{1,40})\n/;

export const removedLine = (date: Date): string => `# removed here ${toSecond(date)}\n`;

async function keysIn(host: ReadHost, directory: string): Promise<StoredKey[]> {
  const names = await keyFiles(host, directory);
  return Promise.all(names.map((name) => storedKey(host, join(directory, name))));
}

async function storedKey(host: ReadHost, path: string): Promise<StoredKey> {
  const facts = await host.lstat(path);
  const text = (await readSmall(host, path, MAX_KEY_BYTES))?.toString('utf8') ?? '';
  const line = REMOVED_LINE.exec(text);
  return {
    ...readStored(text.slice(line?.[0].length ?? 0), path),
    path,
    since: line?.[1] ?? toSecond(new Date(facts?.modifiedMs ?? 0)),
  };
}

function readStored(pem: string, path: string): TrustedKey {
  try {
    return readKey(pem, path);
  } catch (error) {
    throw damagedTrust(error, path);
  }
}

/** The place is the node's own: nobody "gives" this key. */
function damagedTrust(error: unknown, path: string): unknown {
  if (!(error instanceof BundleError)) return error;
  return untrustedError({
    code: error.code,
    message: `a trusted key of this node is damaged: ${error.message}`,
    where: path,
    hint: `Put the key back whose fingerprint the packager told you: install -m 644 packager.pub.pem ${path}`,
    cause: error,
  });
}

function toSecond(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** install.sh goes by the name alone. */
function requireOwnName({ path, keyId: id }: StoredKey): void {
  if (path === join(target.removedKeys, `${id}.pem`)) return;
  throw refusedError({
    code: 'BAD_TRUST',
    message: `a removed key has the name of its key id, which is ${id}.pem here`,
    where: path,
    hint: `If you put it there: mv ${path} ${join(target.removedKeys, `${id}.pem`)}`,
  });
}

/**
 * Folders and files of the store: no links, and nobody but root (or who asks) can write them. Other files
 * beside them do not count.
 */
async function requirePrivateStore(host: ReadHost): Promise<void> {
  const folders = [join(target.trust, '..'), target.trust, target.removedKeys];
  for (const path of folders) await requirePrivate(host, path, 'directory');
  await requirePrivate(host, target.threshold, 'file');
  for (const directory of [target.trust, target.removedKeys])
    for (const name of await keyFiles(host, directory))
      await requirePrivate(host, join(directory, name), 'file');
}

async function keyFiles(host: ReadHost, directory: string): Promise<string[]> {
  return (await host.list(directory)).filter((name) => name.endsWith('.pem') && !name.startsWith('.'));
}

async function requirePrivate(host: ReadHost, path: string, kind: 'directory' | 'file'): Promise<void> {
  const facts = await host.lstat(path);
  if (facts === undefined) return;
  const refuse = (message: string, hint: string): Error =>
    refusedError({
      code: 'BAD_TRUST',
      message,
      where: path,
      hint: `${hint} Look at every key there first: ls -lR ${target.trust}; airbundle trust list`,
    });
  if (facts.kind !== kind)
    throw refuse(
      facts.kind === 'link' ? `this is a link; a ${kind} is wanted` : `this is no ${kind}`,
      `Put the ${kind} itself there.`,
    );
  const owners = [0, process.geteuid?.()];
  if (!owners.includes(facts.uid))
    throw refuse(
      `this belongs to the user ${String(facts.uid)}, who could change what is trusted`,
      `chown root:root ${path}.`,
    );
  if ((facts.mode & WRITABLE_BY_OTHERS) !== 0)
    throw refuse(
      `others than root can write this (mode ${octal(facts.mode)}), and so change what is trusted`,
      `chmod go-w ${path}.`,
    );
}

async function readThreshold(host: ReadHost): Promise<number> {
  const facts = await host.lstat(target.threshold);
  if (facts === undefined) return 1;
  const small = facts.sizeBytes <= MAX_THRESHOLD_BYTES;
  const text = small ? ((await host.read(target.threshold))?.toString('latin1') ?? '') : '';
  if (/^[1-9][0-9]?\n?$/.test(text)) return Number(text);
  throw refusedError({
    code: 'BAD_THRESHOLD',
    message: 'this is not a number of signers: one number from 1 to 99 is wanted, and nothing else',
    where: target.threshold,
    hint: 'Say anew how many trusted keys must sign: airbundle trust require M',
  });
}

/**
 * A key that was removed from this machine is no key to go by, whoever gives it.
 * @throws BundleError exit 5
 */
export function requireNotRemoved(key: TrustedKey, removed: readonly StoredKey[], where: string): void {
  const found = removed.find((other) => other.fingerprint === key.fingerprint);
  if (found === undefined) return;
  throw refusedError({
    code: 'KEY_REMOVED',
    message: `the key ${key.keyId} was removed from this node's trusted keys on ${found.since}`,
    where,
    hint: `Find out why it was removed. Only if it was by mistake: airbundle trust add ${where} --fingerprint F --again`,
  });
}

/**
 * Keys that a reviewer gives. With fingerprints, which came by another way, each key has to have one of
 * them and each fingerprint a key.
 * @throws BundleError exit 2 for a file or a fingerprint that is none; exit 4 when they do not belong together
 */
export async function givenKeys(
  host: ReadHost,
  files: readonly string[],
  fingerprints: readonly string[],
): Promise<TrustedKey[]> {
  const wanted = fingerprints.map((text) => {
    const hex = parseFingerprint(text);
    if (hex !== undefined) return hex;
    throw usageError({
      code: 'NO_FINGERPRINT',
      message: 'this is not a fingerprint: 64 hex digits are wanted',
      where: '--fingerprint',
      hint: 'Give it as the packager told you; quote it when it has spaces.',
    });
  });
  const keys = await Promise.all(
    files.map(async (file) => {
      const bytes = await readSmall(host, (await host.realpath(file)) ?? file, MAX_KEY_BYTES);
      if (bytes !== undefined) return readKey(bytes.toString('utf8'), file);
      throw usageError({
        code: 'NO_KEY',
        message: 'there is no such key file',
        where: file,
        hint: 'Give the path of packager.pub.pem: --key packager.pub.pem',
      });
    }),
  );
  if (wanted.length === 0) return keys;
  for (const [index, key] of keys.entries())
    if (!wanted.includes(key.fingerprint))
      throw wrongFingerprint(
        `the key has the fingerprint ${formatFingerprint(key.fingerprint)}, not the one that was given`,
        files[index],
      );
  const lost = wanted.find((hex) => !keys.some((key) => key.fingerprint === hex));
  if (lost !== undefined)
    throw wrongFingerprint(
      `no key that was given has the fingerprint ${formatFingerprint(lost)}`,
      '--fingerprint',
    );
  return keys;
}

function wrongFingerprint(message: string, where = '--key'): Error {
  return untrustedError({
    code: 'WRONG_FINGERPRINT',
    message,
    where,
    hint: 'Do not go on: ask the packager which of the two is right.',
  });
}
