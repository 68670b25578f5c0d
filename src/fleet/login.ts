import type { ReadHost } from '../host/host.js';
import type { NextAttempt } from '../host/remote.js';
import type { Credentials } from './credentials.js';
import { TRIES } from './credentials.js';
import type { Identity } from './identity.js';
import { identityLocked, passphraseOf, readIdentity, skippedInWords } from './identity.js';
import type { SshTarget } from './ssh-config.js';

type Method = 'agent' | 'plain-keys' | 'encrypted-keys' | 'password';

export interface LoginGiven {
  readonly target: SshTarget;
  readonly where: string;
  readonly host: Pick<ReadHost, 'read'>;
  readonly credentials: Credentials;
}

export interface Login {
  readonly next: NextAttempt;
  /** What was tried and what was not, a line each, for whoever reads of a refusal. */
  readonly told: () => readonly string[];
  /** To be told when the login was taken. */
  readonly succeeded: () => void;
}

/** What ssh would try, in its order: the agent, the keys, and a password when a person is there to be asked. */
export function loginOf({ target, where, host, credentials: known }: LoginGiven): Login {
  let typed: string | undefined;
  const tried: string[] = [];
  const skipped: Identity[] = [];
  async function* attempts(): AsyncGenerator<Awaited<ReturnType<NextAttempt>>, undefined, readonly string[]> {
    let methods = yield { kind: 'none' };
    const takes = (method: Method): boolean =>
      method === 'password'
        ? methods.includes('password') || methods.includes('keyboard-interactive')
        : methods.includes('publickey');
    if (target.agent !== undefined && takes('agent')) {
      tried.push(`${target.identitiesOnly ? 'the named keys of ' : ''}the agent at ${target.agent}`);
      methods = yield {
        ...{ kind: 'agent', socket: target.agent },
        ...(target.identitiesOnly ? { only: await publicKeysOf(host, target.identityFiles) } : {}),
      };
    }
    const identities = await Promise.all(target.identityFiles.map((file) => readIdentity(host, file)));
    skipped.push(...identities.filter(({ state }) => state !== 'private' && state !== 'encrypted'));
    for (const identity of identities) {
      if (!takes('plain-keys') || identity.state !== 'private') continue;
      tried.push(identity.file);
      methods = yield { kind: 'key', file: identity.file, key: identity.key };
    }
    for (const identity of identities) {
      if (!takes('encrypted-keys') || identity.state !== 'encrypted') continue;
      const passphrase = await passphraseOf(identity, known);
      if (passphrase === undefined) {
        if (target.isIdentityGiven) throw identityLocked(identity.file, known);
        skipped.push(identity);
        continue;
      }
      tried.push(identity.file);
      methods = yield { kind: 'key', file: identity.file, key: identity.key, passphrase };
    }
    for (let attempt = 0; attempt < TRIES && takes('password'); attempt += 1) {
      typed = await known.password(target.user, `Password of ${target.user} on ${where}: `, attempt);
      if (typed === undefined) return undefined;
      if (attempt === 0) tried.push('a password');
      methods = yield { kind: 'password', password: typed };
    }
    return undefined;
  }
  const steps = attempts();
  let isFirst = true;
  return {
    next: async (methods) => {
      const { value } = isFirst ? await steps.next([]) : await steps.next(methods);
      isFirst = false;
      return value;
    },
    told: () => [
      ...(tried.length === 0 ? [] : [`tried: ${tried.join(', ')}`]),
      ...skippedInWords(skipped, known),
    ],
    succeeded: () => {
      if (typed !== undefined) known.served(target.user, typed);
    },
  };
}

/** The blobs in FILE.pub; a FILE may be a public key itself, whose private one is in the agent. */
async function publicKeysOf(host: Pick<ReadHost, 'read'>, files: readonly string[]): Promise<Buffer[]> {
  const texts = await Promise.all(
    files.flatMap((file) => [file, `${file}.pub`]).map((file) => host.read(file).catch(() => undefined)),
  );
  return texts.flatMap((bytes) => {
    const blob = /^(?:ssh|ecdsa)-\S+ ([A-Za-z0-9+/=]+)/.exec(bytes?.toString('latin1') ?? '')?.[1];
    return blob === undefined ? [] : [Buffer.from(blob, 'base64')];
  });
}
