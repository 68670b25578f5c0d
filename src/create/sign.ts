import { sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** ECDSA P-256 / SHA-256 signature of X.sha256, in DER: what `openssl dgst -sha256 -verify` takes. */
export function signChecksums(text: string, key: KeyObject): Buffer {
  return sign('sha256', Buffer.from(text, 'utf8'), { key, dsaEncoding: 'der' });
}
