import { BundleError, invalidError } from '../errors.js';
import type { Manifest } from '../model/manifest.js';

/** `https://user:secret@host` in the words of git, yum and npm. A name alone (ssh://git@host) is no secret over ssh. */
const CREDENTIALS =
  /((?:https?|ftp):\/\/)[^\s/?#'"]*@|([a-z][a-z0-9+.-]{0,30}:\/\/[^\s/?#'":@]*):[^\s/?#'"]*@/gi;

/** A server may send a line of any length; nobody reads more than this of one. */
const MAX_SHOWN = 8 * 1024;

/** The text without user names and passwords in its addresses; of a very long one the beginning. */
export function withoutCredentials(text: string): string {
  return shortened(text).replace(
    CREDENTIALS,
    (_, web: string | undefined, other: string | undefined) => web ?? `${other ?? ''}@`,
  );
}

/** Cut before a word, never inside of one: the "@" that tells a password may be behind the cut. */
function shortened(text: string): string {
  if (text.length <= MAX_SHOWN) return text;
  let end = MAX_SHOWN;
  while (end > 0 && !/\s/.test(text.charAt(end - 1))) end -= 1;
  return `${text.slice(0, end)}…`;
}

/** The same error without user names and passwords in what a person reads or a log keeps. */
export function withoutCredentialsIn(error: unknown): unknown {
  if (!(error instanceof BundleError)) return error;
  const { code, message, where, details, hint, exit, cause } = error;
  return new BundleError({
    code,
    exit,
    message: withoutCredentials(message),
    details: details.map(withoutCredentials),
    ...(where === undefined ? {} : { where: withoutCredentials(where) }),
    ...(hint === undefined ? {} : { hint: withoutCredentials(hint) }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * A source's address is written to the lock and to bundle.json, which many people read. (The runtime's is
 * checked by the manifest's own grammar; a repository's is written nowhere.)
 * @throws BundleError exit 3
 */
export function refuseCredentials(manifest: Manifest): void {
  for (const { name, source } of manifest.components)
    if (withoutCredentials(source.git) !== source.git)
      throw invalidError({
        code: 'CREDENTIALS_IN_ADDRESS',
        message:
          'an address has a user name or a password in it, and would be written to the lock and the bundle',
        where: `components: ${name}: source: git`,
        hint: 'Write the address without them. git takes them from its own places: git config --global credential.helper store (or an ssh key, with an ssh address). If the manifest was shown to others, change the password.',
      });
}
