import type { BundleError } from '../errors.js';
import { usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { KeyFileState } from '../host/ssh-key.js';
import type { Credentials } from './credentials.js';

/** A private key's file as it was found. */
export type Identity =
  | { readonly file: string; readonly state: KeyFileState; readonly key: Buffer }
  | { readonly file: string; readonly state: 'not there' }
  | { readonly file: string; readonly state: 'unreadable'; readonly why: string };

export async function readIdentity(host: Pick<ReadHost, 'read'>, file: string): Promise<Identity> {
  try {
    const key = await host.read(file);
    if (key === undefined) return { file, state: 'not there' };
    return { file, state: await stateOf(key), key };
  } catch (error) {
    return { file, state: 'unreadable', why: error instanceof Error ? error.message : String(error) };
  }
}

/** Opens an encrypted key; undefined: nobody gave its passphrase. */
export async function passphraseOf(
  { file, key }: { readonly file: string; readonly key: Buffer },
  credentials: Credentials,
): Promise<string | undefined> {
  const { keyFileState } = await import('../host/ssh-key.js');
  return credentials.passphrase(file, (typed) => keyFileState(key, typed) === 'private');
}

/** ssh2 is read when there is a key to look at: a command that asks for nothing starts without it. */
async function stateOf(key: Buffer): Promise<KeyFileState> {
  const { keyFileState } = await import('../host/ssh-key.js');
  return keyFileState(key);
}

/**
 * The key that a person named, looked at before anything is dialled: it is used, or it is an error.
 * @param hasAgent an agent may have the key: an encrypted one is then asked for only when it has not
 * @throws BundleError exit 2
 */
export async function requireIdentity(
  host: Pick<ReadHost, 'read'>,
  file: string,
  { credentials, hasAgent }: { readonly credentials: Credentials; readonly hasAgent: boolean },
): Promise<void> {
  const identity = await readIdentity(host, file);
  switch (identity.state) {
    case 'private':
      return;
    case 'not there':
      throw noIdentity(file, 'this private key is not there', 'Give the path of the key: --identity FILE');
    case 'unreadable':
      throw noIdentity(
        file,
        `this private key cannot be read: ${identity.why}`,
        `Whose is it? ls -l '${file}'. Run the command as that user, or give another key: --identity FILE`,
      );
    case 'no key':
      throw noIdentity(
        file,
        'this is no private key of SSH',
        `A private key begins with -----BEGIN …; see: head -n 1 '${file}'. Give one: --identity FILE`,
      );
    case 'public':
      if (hasAgent) return;
      throw noIdentity(
        file,
        'this is a public key, and there is no agent that could have its private one',
        `Give the private key: --identity '${file.replace(/\.pub$/, '')}'. Or start an agent: eval "$(ssh-agent)" && ssh-add`,
      );
    case 'encrypted':
      if (!hasAgent && (await passphraseOf(identity, credentials)) === undefined)
        throw identityLocked(file, credentials);
  }
}

/** An encrypted key that was named by a person and that nobody opened. */
export function identityLocked(file: string, { canAsk }: Pick<Credentials, 'canAsk'>): BundleError {
  return usageError({
    code: 'IDENTITY_LOCKED',
    message: canAsk
      ? 'the passphrase that was typed does not open this private key'
      : 'this private key is encrypted, and there is no terminal to ask for its passphrase on',
    where: file,
    hint: `${canAsk ? 'Run the same command again. Which passphrase is right' : `Run the command on a terminal, or unlock the key for it: eval "$(ssh-agent)" && ssh-add '${file}'. Whether a passphrase is right`}, this tells: ssh-keygen -y -f '${file}'`,
  });
}

/** What was not tried and why, a line for each reason. */
export function skippedInWords(
  skipped: readonly Identity[],
  { canAsk }: Pick<Credentials, 'canAsk'>,
): string[] {
  const absent = skipped.filter(({ state }) => state === 'not there').map(({ file }) => file);
  return [
    ...skipped.flatMap((identity) => {
      switch (identity.state) {
        case 'unreadable':
          return [`not tried: ${identity.file}: ${identity.why}`];
        case 'no key':
          return [`not tried: ${identity.file} is no private key`];
        case 'public':
          return [`not tried: ${identity.file} is a public key, and no agent gave its private one`];
        case 'encrypted':
          return [
            `not tried: ${identity.file} is encrypted, and ${canAsk ? 'its passphrase was not given' : 'there is no terminal to ask for its passphrase on'}`,
          ];
        case 'private':
        case 'not there':
          return [];
      }
    }),
    ...(absent.length === 0 ? [] : [`not there: ${absent.join(', ')}`]),
  ];
}

function noIdentity(file: string, message: string, hint: string): BundleError {
  return usageError({ code: 'NO_IDENTITY', message, where: file, hint });
}
