import { refusedError, untrustedError, usageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { formatFingerprint, parseFingerprint } from '../model/signature.js';
import { MAX_KEY_BYTES } from '../review/keys.js';
import { readSmall } from '../review/small-file.js';
import type { Trust, TrustedKey } from './trust.js';
import { readKey, requireNotRemoved, trustStore } from './trust.js';

export interface KeysRequest {
  /** Only for the first installation: a public key's path and its fingerprint by another way. */
  readonly key: string | undefined;
  readonly fingerprint: string | undefined;
}

export interface Keys {
  readonly trust: Trust;
  readonly isNew: boolean;
}

/**
 * The trust store; only while it holds no key, the one that was given with its fingerprint. A key that
 * is trusted already may be given again: the first installation's command, ended half way, is typed again.
 */
export async function keysFor(host: Host, request: KeysRequest): Promise<Keys> {
  const store = await trustStore(host);
  const stored = store.trusted;
  if (stored.length > 0 && request.key === undefined) return { trust: store, isNew: false };
  if (request.key === undefined)
    throw usageError({
      code: 'NO_TRUST',
      message: 'no key is trusted on this node yet',
      hint: 'Add: --key packager.pub.pem --fingerprint F, with the fingerprint that the packager told you by another way than the medium.',
    });
  const given = await givenKey(host, request.key, request.fingerprint);
  requireNotRemoved(given, store.removed, request.key);
  if (stored.length === 0) return { trust: { ...store, trusted: [given] }, isNew: true };
  if (stored.some((key) => key.fingerprint === given.fingerprint)) return { trust: store, isNew: false };
  throw refusedError({
    code: 'TRUST_EXISTS',
    message: 'this node has trusted keys already; another --key is for the first installation only',
    where: target.trust,
    hint: `Run the same command without --key and --fingerprint. To trust this key too: airbundle trust add ${request.key}`,
  });
}

/**
 * A public key with the fingerprint that came by another way.
 * @throws BundleError exit 2 when one of them is missing; exit 4 when they do not belong together
 */
export async function givenKey(host: Host, path: string, given: string | undefined): Promise<TrustedKey> {
  const pem = await readSmall(host, (await host.realpath(path)) ?? path, MAX_KEY_BYTES);
  if (pem === undefined)
    throw usageError({
      code: 'NO_KEY',
      message: 'there is no such key file',
      where: path,
      hint: 'Give the path of packager.pub.pem: --key FILE',
    });
  const key = readKey(pem.toString('utf8'), path);
  const wanted = parseFingerprint(given ?? '');
  if (wanted === undefined)
    throw usageError({
      code: 'NO_FINGERPRINT',
      message:
        given === undefined
          ? 'the fingerprint of the key is needed: 64 hex digits'
          : `this is not a fingerprint: 64 hex digits are wanted (it has ${String(given.replace(/[\s:]/g, '').length)} characters)`,
      hint: 'Add: --fingerprint F, as the packager told you by another way than the medium.',
    });
  if (wanted !== key.fingerprint)
    throw untrustedError({
      code: 'WRONG_FINGERPRINT',
      message: `the key has the fingerprint ${formatFingerprint(key.fingerprint)}, not the one that was given`,
      where: path,
      hint: 'Do not go on: ask the packager which of the two is right.',
    });
  return key;
}
