/** Asks a person for something secret; undefined when nothing was typed. */
export type AskSecret = (question: string) => Promise<string | undefined>;

/** What was typed, kept in memory for the other nodes of this command, and nowhere else. */
export interface Credentials {
  /** There is a terminal. */
  readonly canAsk: boolean;
  /** undefined: there is nobody to ask. @param isGood what is asked again, at most three times, until it is */
  passphrase(file: string, isGood: (passphrase: string) => boolean): Promise<string | undefined>;
  /** @param attempt 0 gives what served this user before, if anything did */
  password(user: string, question: string, attempt: number): Promise<string | undefined>;
  /** This one was taken. */
  served(user: string, password: string): void;
}

/** Of a passphrase or a password. */
export const TRIES = 3;

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
    canAsk: ask !== undefined,
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
