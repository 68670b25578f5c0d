import type { Readable } from 'node:stream';
import { PassThrough } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { RemoteProcess } from '../host/remote.js';
import type { RunResult } from '../host/process.js';
import type { Link } from './connect.js';
import type { Credentials } from './credentials.js';
import { quoted, shellArguments } from './quote.js';
import type { Elevation } from './root.js';
import { elevated, isWrongPassword, needsPassword, sudoRefusal } from './root.js';

/** The environment of every command on a node: nothing of the login's gets through. */
const CLEAN = [
  '/usr/bin/env',
  '-i',
  'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
  'LC_ALL=C',
  'TZ=UTC',
  'HOME=/nonexistent',
  'TERM=dumb',
];
/** What the login's shell printed before this line (a greeting in .bashrc) is not the command's. */
const BEGIN = 'airbundle-begins-here';
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const SUDO_TRIES = 3;
/** For what takes no time where a login works. */
export const QUESTION_MS = 60_000;

export interface ShellOptions {
  readonly asRoot?: boolean;
  readonly input?: string | Buffer;
  readonly timeoutMs?: number;
  readonly onLine?: (line: string) => void;
  /** Raw stdout as it comes; it is then not in the result. */
  readonly onBytes?: (bytes: Buffer) => void;
  /** Writes stdin itself, once the command has begun. */
  readonly feed?: (process: RemoteProcess) => Promise<void>;
}

/** Commands on one node, in a clean environment, as the login or as root. */
export interface NodeShell {
  readonly where: string;
  run(words: readonly string[], options?: ShellOptions): Promise<RunResult>;
  close(): void;
}

export function nodeShell(link: Link, credentials: Credentials): NodeShell {
  const { where, user } = link;
  let elevation: Promise<Elevation> | undefined;
  const become = (): Promise<Elevation> => {
    elevation ??= findElevation().catch((error: unknown) => {
      elevation = undefined;
      throw error;
    });
    return elevation;
  };
  const runAs = (given: Elevation, words: readonly string[], options: ShellOptions): Promise<RunResult> =>
    runOver(link, given, words, options);

  const question = async (given: Elevation, words: readonly string[]): Promise<RunResult> => {
    const answer = await runAs(given, words, { timeoutMs: QUESTION_MS });
    if (!answer.timedOut) return answer;
    const asked = [...(given.kind === 'root' ? [] : ['sudo']), ...words].join(' ');
    throw silentShell(link, `"${asked}"`, QUESTION_MS);
  };

  const findElevation = async (): Promise<Elevation> => {
    const id = await question({ kind: 'root' }, ['id', '-u']);
    if (id.stdout.trim() === '0') return { kind: 'root' };
    let tried = await question({ kind: 'sudo' }, ['true']);
    if (tried.exitCode === 0) return { kind: 'sudo' };
    if (!needsPassword(tried.stderr)) throw sudoRefusal(where, user, tried.stderr);
    for (let attempt = 0; attempt < SUDO_TRIES; attempt += 1) {
      const password = await credentials.password(
        user,
        `Password for sudo of ${user} on ${where}: `,
        attempt,
      );
      if (password === undefined) break;
      tried = await question({ kind: 'sudo-with-password', password }, ['true']);
      if (tried.exitCode === 0) {
        credentials.served(user, password);
        return { kind: 'sudo-with-password', password };
      }
      if (!isWrongPassword(tried.stderr)) break;
    }
    throw sudoRefusal(where, user, tried.stderr);
  };

  return {
    where,
    run: async (words, options = {}) =>
      runAs(options.asRoot === true ? await become() : { kind: 'root' }, words, options),
    close: () => {
      link.close();
    },
  };
}

/** The machine answers, and took the login; what starts commands there does not. */
export function silentShell(
  { where, user }: { readonly where: string; readonly user?: string },
  asked: string,
  timeoutMs: number,
): BundleError {
  return refusedError({
    code: 'NODE_UNREACHABLE',
    message: `the node took the login, but did not answer ${asked} within ${String(timeoutMs / 1000)} s`,
    where,
    hint: `On its console: does the shell of this login wait for something (getent passwd ${user ?? 'LOGIN'}; its .bashrc and /etc/profile), does a disk hang (dmesg | tail), has it memory left (free -m)?`,
  });
}

async function runOver(
  link: Link,
  elevation: Elevation,
  words: readonly string[],
  options: ShellOptions,
): Promise<RunResult> {
  const session = await link.session();
  const limit = limitOf(options.timeoutMs);
  const opening = session.exec(
    quoted([...elevated(elevation), ...CLEAN, '/bin/sh', '-c', ...shellArguments(`echo ${BEGIN}`, words)]),
  );
  // Given up also when it is there later.
  void limit.whenReached.then(() => opening.then((process) => process.abandon())).catch(() => undefined);
  const process = await Promise.race([opening, limit.whenReached]).catch((error: unknown) => {
    limit.clear();
    throw error;
  });
  if (process === undefined) return timedOut('', '');
  const stdout = collected(options.onBytes === undefined);
  const stderr = collected(true);
  const begun = afterBeginning(process.stdout);
  begun.rest.on('data', options.onBytes ?? stdout.take);
  process.stderr.on('data', stderr.take);
  if (options.onLine !== undefined) {
    eachLine(begun.rest, options.onLine);
    eachLine(process.stderr, options.onLine);
  }
  try {
    if (elevation.kind === 'sudo-with-password') {
      process.stdin.write(`${elevation.password}\n`);
      // A password that was good a moment ago: sudo must not wait for another, nor take the input for one.
      const given = options.feed ?? options.input;
      if (given === undefined) process.stdin.end();
      else process.stderr.on('data', () => isWrongPassword(stderr.text()) && process.stdin.end());
    }
    // Nothing else is sent before the command itself reads.
    const isBegun = await Promise.race([begun.begun, process.ended.then(() => false)]);
    if (isBegun && options.feed !== undefined) await options.feed(process);
    else if (!process.stdin.writableEnded) process.stdin.end(isBegun ? options.input : undefined);
    const [end] = await Promise.all([process.ended, begun.read]);
    return {
      exitCode: end.exitCode,
      signal: end.signal,
      stdout: stdout.text(),
      stderr: stderr.text(),
      startError: undefined,
      timedOut: limit.isReached(),
    };
  } catch (error) {
    if (!limit.isReached()) throw error;
    return timedOut(stdout.text(), stderr.text());
  } finally {
    limit.clear();
  }
}

const timedOut = (stdout: string, stderr: string): RunResult => ({
  ...{ exitCode: null, signal: undefined, startError: undefined, timedOut: true },
  ...{ stdout, stderr },
});

interface Limit {
  isReached(): boolean;
  /** Never, when there is none. */
  readonly whenReached: Promise<undefined>;
  clear(): void;
}

function limitOf(timeoutMs: number | undefined): Limit {
  let isReached = false;
  let timer: NodeJS.Timeout | undefined;
  const whenReached = new Promise<undefined>((resolve) => {
    if (timeoutMs === undefined) return;
    timer = setTimeout(() => {
      isReached = true;
      resolve(undefined);
    }, timeoutMs);
  });
  return {
    isReached: () => isReached,
    whenReached,
    clear: () => {
      clearTimeout(timer);
    },
  };
}

interface Beginning {
  /** False: it ended before. */
  readonly begun: Promise<boolean>;
  readonly rest: PassThrough;
  /** All of it was read. */
  readonly read: Promise<void>;
}

/** What follows the line that says that the command begins. */
function afterBeginning(from: Readable): Beginning {
  const rest = new PassThrough();
  let before = Buffer.alloc(0);
  const begun = new Promise<boolean>((resolve) => {
    const look = (bytes: Buffer): void => {
      before = Buffer.concat([before, bytes]);
      const at = before.indexOf(`${BEGIN}\n`);
      if (at < 0) return;
      from.off('data', look);
      rest.write(before.subarray(at + BEGIN.length + 1));
      from.pipe(rest);
      resolve(true);
    };
    from.on('data', look);
    from.once('end', () => {
      resolve(false);
    });
  });
  const wholeRest = new Promise<void>((resolve) => rest.once('end', resolve));
  const read = begun.then((isBegun) => (isBegun ? wholeRest : undefined));
  return { begun, rest, read };
}

function collected(keep: boolean): { readonly take: (bytes: Buffer) => void; readonly text: () => string } {
  const pieces: Buffer[] = [];
  let size = 0;
  return {
    take: (bytes) => {
      size += bytes.length;
      if (keep && size <= MAX_OUTPUT_BYTES) pieces.push(bytes);
    },
    text: () => Buffer.concat(pieces).toString('utf8'),
  };
}

export function eachLine(from: Readable, onLine: (line: string) => void): void {
  let rest = '';
  const decoder = new StringDecoder('utf8');
  from.on('data', (bytes: Buffer) => {
    const lines = (rest + decoder.write(bytes)).split(/\r\n|[\r\n]/);
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  from.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}
