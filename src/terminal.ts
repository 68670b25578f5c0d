import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { usageError } from './errors.js';

/** Somebody is there who can be asked. */
export function hasTerminal(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** What is typed after a question; undefined when it was ended by Ctrl-C or Ctrl-D. */
export function askLine(question: string): Promise<string | undefined> {
  return answer(question, true);
}

/**
 * The same without echo, for a passphrase.
 * @throws BundleError exit 2 when nothing was typed
 */
export async function askPassphrase(question: string): Promise<string> {
  const typed = await answer(question, false);
  process.stderr.write('\n');
  if (typed !== undefined && typed !== '') return typed;
  throw usageError({
    code: 'NO_PASSPHRASE',
    message: 'no passphrase was given',
    hint: 'Run the same command again, or give --passphrase-file FILE.',
  });
}

/** The same where no answer is an answer. */
export async function askSecret(question: string): Promise<string | undefined> {
  const typed = await answer(question, false);
  process.stderr.write('\n');
  return typed === '' ? undefined : typed;
}

/**
 * A passphrase that nobody sees, typed twice.
 * @throws BundleError exit 2
 */
export async function askNewPassphrase(): Promise<string> {
  const first = await askPassphrase('Passphrase for the new signing key: ');
  if ((await askPassphrase('The same again: ')) === first) return first;
  throw usageError({
    code: 'PASSPHRASES_DIFFER',
    message: 'the two passphrases differ; no key was made',
    hint: 'Run the same command again.',
  });
}

/** Once readline has the terminal, nothing echoes but what readline writes; only then the question is shown. */
function answer(question: string, echo: boolean): Promise<string | undefined> {
  const output = echo ? process.stderr : nowhere();
  const terminal = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 });
  if (!echo) process.stderr.write(question);
  return new Promise((resolve) => {
    terminal.on('close', () => {
      resolve(undefined);
    });
    terminal.on('SIGINT', () => {
      terminal.close();
    });
    terminal.question(question, (typed) => {
      resolve(typed);
      terminal.close();
    });
  });
}

function nowhere(): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
}
