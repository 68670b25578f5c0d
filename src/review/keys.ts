import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { BundleError, untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import { target } from '../model/layout.js';
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

/** Hostile inputs: a public key on P-256 takes under 200 bytes. */
const MAX_KEY_BYTES = 16 * 1024;

export function readKey(pem: string, where: string): TrustedKey {
  const key = parsePublicKey(pem, where);
  return { key, pem, keyId: keyId(key), fingerprint: fingerprint(key) };
}

/** The keys in the trust store. @throws BundleError exit 4 when one cannot be read */
export async function trustStore(host: ReadHost): Promise<TrustedKey[]> {
  const names = (await host.list(target.trust)).filter((name) => name.endsWith('.pem'));
  return Promise.all(
    names.map(async (name) => {
      const path = join(target.trust, name);
      const pem = (await host.read(path))?.toString('utf8') ?? '';
      try {
        return readKey(pem, path);
      } catch (error) {
        throw damagedTrust(error, path);
      }
    }),
  );
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
