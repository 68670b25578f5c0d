import ssh2 from 'ssh2';

export type PrivateKeyState = 'plain' | 'encrypted' | 'unreadable';

/** Whether a private key's file can be used as it is, or with this passphrase. */
export function privateKeyState(bytes: Buffer, passphrase?: string): PrivateKeyState {
  const parsed: unknown = ssh2.utils.parseKey(bytes, passphrase);
  if (!(parsed instanceof Error)) return 'plain';
  return /encrypted|passphrase|decrypt|integrity|bad pass/i.test(parsed.message) ? 'encrypted' : 'unreadable';
}
