import type { ReadHost } from '../host/host.js';
import type { NextAttempt } from '../host/remote.js';
import type { SshTarget } from './ssh-config.js';

/** Asks a person for something secret; undefined when nothing was typed. */
export type AskSecret = (question: string) => Promise<string | undefined>;

/** What was typed, kept in memory for the other nodes of this command, and nowhere else. */
export interface Credentials {
  /** undefined: there is nobody to ask. @param isGood what is asked again, at most three times, until it is */
  passphrase(file: string, isGood: (passphrase: string) => boolean): Promise<string | undefined>;
  /** @param attempt 0 gives what served this user before, if anything did */
  password(user: string, question: string, attempt: number): Promise<string | undefined>;
  /** This one was taken. */
  served(user: string, password: string): void;
}

const TRIES = 3;

/** @param ask undefined without a terminal */
export function credentials(ask: AskSecret | undefined): Credentials {
  const passphrases = new Map<string, Promise<string | undefined>>();
  const passwords = new Map<string, string>();
  let last: Promise<unknown> = Promise.resolve();
  /** One question at a time. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work, work);
    last = turn.catch(() => undefined);
    return turn;
  };
  const askPassphrase = async (
    file: string,
    isGood: (passphrase: string) => boolean,
  ): Promise<string | undefined> => {
    for (let attempt = 0; ask !== undefined && attempt < TRIES; attempt += 1) {
      const typed = await ask(`Passphrase of ${file}: `);
      if (typed === undefined || isGood(typed)) return typed;
    }
    return undefined;
  };
  return {
    passphrase(file, isGood) {
      const known = passphrases.get(file) ?? inTurn(() => askPassphrase(file, isGood));
      passphrases.set(file, known);
      return known;
    },
    password: (user, question, attempt) =>
      inTurn(async () => {
        const served = passwords.get(user);
        if (attempt === 0 && served !== undefined) return served;
        return ask?.(question);
      }),
    served(user, password) {
      passwords.set(user, password);
    },
  };
}

type Method = 'agent' | 'plain-keys' | 'encrypted-keys' | 'password';

interface IdentityFile {
  readonly file: string;
  readonly key: Buffer;
}

export interface LoginGiven {
  readonly target: SshTarget;
  readonly where: string;
  readonly host: Pick<ReadHost, 'read'>;
  readonly credentials: Credentials;
}

export interface Login {
  readonly next: NextAttempt;
  /** To be told when the login was taken. */
  readonly succeeded: () => void;
}

/** What ssh would try, in its order: the agent, the keys, and a password when a person is there to be asked. */
export function loginOf({ target, where, host, credentials: known }: LoginGiven): Login {
  let typed: string | undefined;
  async function* attempts(): AsyncGenerator<Awaited<ReturnType<NextAttempt>>, undefined, readonly string[]> {
    let methods = yield { kind: 'none' };
    const takes = (method: Method): boolean =>
      method === 'password'
        ? methods.includes('password') || methods.includes('keyboard-interactive')
        : methods.includes('publickey');
    if (target.agent !== undefined && takes('agent'))
      methods = yield {
        ...{ kind: 'agent', socket: target.agent },
        ...(target.identitiesOnly ? { only: await publicKeysOf(host, target.identityFiles) } : {}),
      };
    const { privateKeyState } = await import('../host/ssh-key.js');
    const identities = await identitiesOf(host, target.identityFiles);
    for (const { file, key } of identities)
      if (takes('plain-keys') && privateKeyState(key) === 'plain') methods = yield { kind: 'key', file, key };
    for (const { file, key } of identities) {
      if (!takes('encrypted-keys') || privateKeyState(key) !== 'encrypted') continue;
      const passphrase = await known.passphrase(file, (one) => privateKeyState(key, one) === 'plain');
      if (passphrase !== undefined) methods = yield { kind: 'key', file, key, passphrase };
    }
    for (let attempt = 0; attempt < TRIES && takes('password'); attempt += 1) {
      typed = await known.password(target.user, `Password of ${target.user} on ${where}: `, attempt);
      if (typed === undefined) return undefined;
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

async function identitiesOf(host: Pick<ReadHost, 'read'>, files: readonly string[]): Promise<IdentityFile[]> {
  const read = await Promise.all(
    files.map(async (file) => ({ file, key: await host.read(file).catch(() => undefined) })),
  );
  return read.flatMap(({ file, key }) => (key === undefined ? [] : [{ file, key }]));
}
