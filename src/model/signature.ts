import { createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { untrustedError } from '../errors.js';

/*
 * Who signed X.sha256: ECDSA on P-256 with SHA-256, signature in DER, so that EL7's openssl 1.0.2
 * verifies it too. Pure computation; runs on Node 16.
 */

/** Hostile inputs: a DER signature of P-256 has at most 72 bytes. */
export const MAX_SIGNATURE_BYTES = 80;

/** SPKI DER of a P-256 key with an uncompressed point. */
const SPKI_BYTES = 91;

/** SHA-256 of the public key's SPKI DER, 64 lower-case hex digits: what is read aloud and compared. */
export function fingerprint(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** The first 16 digits of the fingerprint: the name of a signature file, never a proof. */
export function keyId(publicKey: KeyObject): string {
  return fingerprint(publicKey).slice(0, 16);
}

/** In groups of four, for reading aloud: `1a2b 3c4d …`. */
export function formatFingerprint(hex: string): string {
  return (hex.match(/.{1,4}/g) ?? []).join(' ');
}

/** A fingerprint as a person types it (any case, spaces or colons) in its 64 digits; undefined when it is none. */
export function parseFingerprint(text: string): string | undefined {
  const hex = text.replace(/[\s:]/g, '').toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined;
}

/**
 * Reads an SPKI PEM and accepts only a public key on P-256.
 * @throws BundleError exit 4
 */
export function parsePublicKey(pem: string, where: string): KeyObject {
  const refuse = (message: string, cause?: unknown): Error =>
    untrustedError({
      code: 'BAD_PUBLIC_KEY',
      message,
      where,
      hint: 'Give the .pub.pem file that "bundle keygen" wrote.',
      ...(cause === undefined ? {} : { cause }),
    });
  // createPublicKey would take a private key, or a certificate, and derive the public one from it.
  if (!/^-----BEGIN PUBLIC KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END PUBLIC KEY-----\s*$/.test(pem))
    throw refuse(
      pem.includes('PRIVATE KEY')
        ? 'this is a private key; a public one is wanted here'
        : 'this is not a public key in PEM',
    );
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw refuse('this public key cannot be read', cause);
  }
  if (!isP256(key)) throw refuse(`a P-256 key is wanted; this is ${describeKey(key)}`);
  // A compressed point is the same key under another fingerprint: it would count as another signer.
  if (key.export({ type: 'spki', format: 'der' }).length !== SPKI_BYTES)
    throw refuse('this public key is not in its one form: a named curve and an uncompressed point');
  return key;
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

/** "RSA", "Ed25519", "ECDSA on secp384r1": for errors. */
export function describeKey(key: KeyObject): string {
  const type = key.asymmetricKeyType ?? key.type;
  if (type === 'ec') return `ECDSA on ${key.asymmetricKeyDetails?.namedCurve ?? 'an unnamed curve'}`;
  return type.startsWith('ed') ? `Ed${type.slice(2)}` : type.toUpperCase();
}

/** True when `signature` (DER) is `publicKey`'s over exactly these bytes. Never throws for a bad signature. */
export function verifySignature(bytes: Uint8Array, signature: Uint8Array, publicKey: KeyObject): boolean {
  if (!isP256(publicKey) || signature.length > MAX_SIGNATURE_BYTES) return false;
  try {
    return verify('sha256', bytes, { key: publicKey, dsaEncoding: 'der' }, signature);
  } catch {
    return false;
  }
}
