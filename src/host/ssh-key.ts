import type { ParsedKey } from 'ssh2';
import ssh2 from 'ssh2';

export type KeyFileState = 'private' | 'encrypted' | 'public' | 'no key';

/** What a file of a key is, read with this passphrase: ready to be used (`private`), or why not. */
export function keyFileState(bytes: Buffer, passphrase?: string): KeyFileState {
  // A file may hold several keys; ssh2's types know of one.
  const parsed = ssh2.utils.parseKey(bytes, passphrase) as ParsedKey | ParsedKey[] | Error;
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key === undefined) return 'no key';
  if (!(key instanceof Error)) return key.isPrivateKey() ? 'private' : 'public';
  return /encrypted|passphrase|decrypt|integrity|bad pass/i.test(key.message) ? 'encrypted' : 'no key';
}
