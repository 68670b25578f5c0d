import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants, promises as fs } from 'node:fs';
import type { Readable } from 'node:stream';
import { PassThrough } from 'node:stream';

export type Argv = readonly [string, ...string[]];

export interface RunOptions {
  readonly cwd?: string;
  /** The whole environment of the child; nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  /** stdin is this file. */
  readonly inputFile?: string;
  readonly timeoutMs?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Every line of stdout and stderr as it comes; a carriage return ends one too. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
  /**
   * In a session of its own, without a terminal: signals for this process's group do not reach it. `signal`
   * ends the whole session, also what the command has started.
   */
  readonly detached?: boolean;
}

export interface RunResult {
  /** null: it never ran, or a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** ENOENT and the like, when it could not be started. */
  readonly startError: string | undefined;
  readonly timedOut: boolean;
  /** Both outputs as people may see them, when they differ: a secret that a program quoted is covered. */
  readonly shown?: { readonly stdout: string; readonly stderr: string };
}

/** A timer counts from the beginning of its turn of the event loop. */
const TIMER_EARLY_MS = 20;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/**
 * Runs a command to its end. Never throws for a command that fails or cannot start: callers judge,
 * since many tools here exit 0 while failing.
 */
export async function run(argv: Argv, options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = argv;
  // Many commands start nothing; this is a tenth of a second where everything is slow.
  const { execa } = await import('execa');
  const startedMs = performance.now();
  const child = execa(file, args, {
    reject: false,
    extendEnv: false,
    env: { ...(options.env ?? {}) },
    stripFinalNewline: false,
    maxBuffer: MAX_OUTPUT_BYTES,
    ...inputOf(options),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.detached === undefined ? {} : { detached: options.detached }),
  });
  const endSession = (): void => {
    if (child.pid !== undefined) endGroup(child.pid);
  };
  if (options.detached === true) options.signal?.addEventListener('abort', endSession, { once: true });
  if (options.onLine !== undefined) {
    eachLine(child.stdout, options.onLine);
    eachLine(child.stderr, options.onLine);
  }
  const result = await child;
  options.signal?.removeEventListener('abort', endSession);
  // execa gives the limit to spawn too; where that timer is first and the command ends at once, it calls it killed.
  const limitMs = (options.timeoutMs ?? Infinity) - TIMER_EARLY_MS;
  const timedOut =
    result.timedOut || (result.signal === 'SIGTERM' && performance.now() - startedMs >= limitMs);
  // execa answers when it has sent SIGTERM, which an rpm that waits for a dead one's locks survives.
  if (timedOut) await reallyEnd(child, options.detached === true);
  const failure = result as { code?: unknown; exitCode?: unknown };
  const never = failure.exitCode === undefined && result.signal === undefined;
  return {
    exitCode: typeof failure.exitCode === 'number' ? failure.exitCode : null,
    signal: result.signal,
    stdout: result.stdout,
    stderr: result.stderr,
    startError: never && typeof failure.code === 'string' ? failure.code : undefined,
    timedOut,
  };
}

function inputOf(options: RunOptions): { input: Buffer } | { inputFile: string } | { stdin: 'ignore' } {
  if (options.input !== undefined) return { input: Buffer.from(options.input) };
  if (options.inputFile !== undefined) return { inputFile: options.inputFile };
  return { stdin: 'ignore' };
}

export interface LoggedOptions extends Omit<RunOptions, 'input' | 'onLine' | 'signal' | 'detached'> {
  /** The last line of the log, now and then. */
  readonly onNote?: (line: string) => void;
  /** Asked now and then; true ends the command. */
  readonly stop?: () => boolean;
  /** Descriptors of this process that the command gets as 3, 4 and so on. */
  readonly descriptors?: readonly number[];
  /** Of this command's part of the log; more than that is dropped from its beginning on. */
  readonly maxLogBytes?: number;
  /** Told each time that the log has not grown for `quietMs`, with the command's process id. */
  readonly quietMs?: number;
  readonly onQuiet?: (pid: number) => Promise<void>;
}

export interface LoggedResult extends RunResult {
  readonly stopped: boolean;
  /** The beginning of the output is no longer in the log: there was too much of it. */
  readonly dropped: boolean;
}

const LOG_POLL_MS = 250;
const LOG_TAIL_BYTES = 16 * 1024;
const LOG_LIMIT_BYTES = 64 * 1024 * 1024;
/** What stays of a log that had become too long. */
const LOG_KEPT_BYTES = 1024 * 1024;
const SHORTEN_ROUNDS = 4;

/**
 * Runs a command with both outputs in a file; `stdout` of the result holds the file's last 16 KiB. There
 * is no pipe, so neither much output nor a daemon that keeps it open matters.
 */
export async function runLogged(argv: Argv, log: string, options: LoggedOptions = {}): Promise<LoggedResult> {
  const [file, ...args] = argv;
  const { O_WRONLY, O_APPEND, O_CREAT, O_RDONLY, O_NOFOLLOW } = constants;
  const output = await fs.open(log, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  const handle = await fs.open(log, O_RDONLY | O_NOFOLLOW);
  const before = (await handle.stat()).size;
  const tail = async (): Promise<string> => {
    const { size } = await handle.stat();
    const from = Math.max(before, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LOG_TAIL_BYTES), 0, LOG_TAIL_BYTES, from);
    return buffer.toString('utf8', 0, bytesRead);
  };
  let dropped = false;
  /** The command appends, so that it goes on behind what is left. */
  const shorten = async (): Promise<void> => {
    const { size } = await handle.stat();
    if (size - before <= (options.maxLogBytes ?? LOG_LIMIT_BYTES)) return;
    dropped = true;
    const kept: Buffer[] = [];
    // What is printed meanwhile is read too: the last line before an end is the one that is wanted.
    let at = Math.max(before, size - LOG_KEPT_BYTES);
    for (let round = 0; round < SHORTEN_ROUNDS; round += 1) {
      const piece = Buffer.alloc(LOG_KEPT_BYTES);
      const { bytesRead } = await handle.read(piece, 0, piece.length, at);
      if (bytesRead === 0) break;
      kept.push(piece.subarray(0, bytesRead));
      at += bytesRead;
    }
    await output.truncate(before);
    await output.write(`[airbundle: this command printed more than is kept; the last of it follows]\n`);
    for (const piece of kept) await output.write(piece);
  };
  const isQuiet = quietness(options.quietMs);
  let watching: Promise<void> = Promise.resolve();
  const watch = async (pid: number): Promise<void> => {
    await shorten();
    if (isQuiet((await handle.stat()).size)) await options.onQuiet?.(pid);
  };
  const stdin = options.inputFile === undefined ? undefined : await fs.open(options.inputFile, 'r');
  let timer: NodeJS.Timeout | undefined;
  try {
    const startedMs = performance.now();
    let stopped = false;
    let timedOut = false;
    const ended = await new Promise<Pick<RunResult, 'exitCode' | 'signal' | 'startError'>>((resolve) => {
      const child = spawn(file, args, {
        env: { ...(options.env ?? {}) },
        detached: true,
        stdio: [stdin?.fd ?? 'ignore', output.fd, output.fd, ...(options.descriptors ?? [])],
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...(options.uid === undefined ? {} : { uid: options.uid }),
        ...(options.gid === undefined ? {} : { gid: options.gid }),
      });
      let isWatching = false;
      timer = setInterval(() => {
        if (!isWatching && child.pid !== undefined) {
          isWatching = true;
          watching = watch(child.pid)
            // A log that cannot be read or shortened is no reason to end what runs.
            .catch(() => undefined)
            .then(() => {
              isWatching = false;
            });
        }
        stopped ||= options.stop?.() === true;
        timedOut ||= options.timeoutMs !== undefined && performance.now() - startedMs > options.timeoutMs;
        if ((stopped || timedOut) && child.pid !== undefined) endGroup(child.pid);
        if (options.onNote !== undefined) noteLastLine(tail, options.onNote);
      }, LOG_POLL_MS);
      child.on('error', (error: NodeJS.ErrnoException) => {
        resolve({ exitCode: null, signal: undefined, startError: error.code ?? error.message });
      });
      child.on('exit', (exitCode, signal) => {
        resolve({ exitCode, signal: signal ?? undefined, startError: undefined });
      });
    });
    await watching;
    await shorten();
    return { ...ended, stdout: await tail(), stderr: '', timedOut, stopped, dropped };
  } finally {
    clearInterval(timer);
    await stdin?.close();
    await output.close();
    await handle.close();
  }
}

/** Says each time that a size has been the same for so long. */
function quietness(quietMs: number | undefined): (size: number) => boolean {
  let last = -1;
  let sinceMs = performance.now();
  return (size) => {
    const nowMs = performance.now();
    if (size !== last) {
      last = size;
      sinceMs = nowMs;
    }
    if (quietMs === undefined || nowMs - sinceMs < quietMs) return false;
    sinceMs = nowMs;
    return true;
  };
}

/** How long a command may take to end by SIGTERM before SIGKILL, and then to be gone. */
const TERM_MS = 2000;

async function reallyEnd(child: ChildProcess, leadsGroup: boolean): Promise<void> {
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const waits = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, TERM_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  if (!isOver()) await waits();
  if (leadsGroup && child.pid !== undefined) endGroup(child.pid);
  if (isOver()) return;
  child.kill('SIGKILL');
  // One that waits for a disk that does not answer stays all the same.
  await waits();
}

/** The whole process group that a detached child leads. */
function endGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

function noteLastLine(tail: () => Promise<string>, onNote: (line: string) => void): void {
  tail().then(
    (text) => {
      const line = text
        .trimEnd()
        .split(/[\r\n]+/)
        .pop();
      if (line !== undefined && line !== '') onNote(line);
    },
    () => {
      // The command has ended and the log is closed.
    },
  );
}

/** A running command whose stdout is a stream of bytes; `end` resolves when it has ended. */
export interface Streaming {
  readonly stdout: Readable;
  readonly stdin: NodeJS.WritableStream;
  readonly end: Promise<{ readonly exitCode: number | null; readonly stderr: string }>;
  kill(): void;
}

/** Starts a command whose output is too large to hold, such as `docker cp CONTAINER:/path -`. */
export function stream(argv: Argv, env: Readonly<Record<string, string>>): Streaming {
  const [file, ...args] = argv;
  const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < 1024 * 1024) stderr += text;
  });
  child.stdin.on('error', () => {
    // EPIPE: the command ended early; its exit code and stderr say why.
  });
  const end = new Promise<{ exitCode: number | null; stderr: string }>((resolve) => {
    child.on('error', (error) => {
      resolve({ exitCode: null, stderr: `${stderr}${error.message}` });
    });
    child.on('close', (exitCode) => {
      resolve({ exitCode, stderr });
    });
  });
  // Node throws away what nobody has read when the child exits; a PassThrough keeps it.
  const stdout = child.stdout.pipe(new PassThrough());
  return {
    stdout,
    stdin: child.stdin,
    end,
    kill: () => {
      child.kill('SIGTERM');
    },
  };
}

function eachLine(from: Readable | null | undefined, onLine: (line: string) => void): void {
  let rest = '';
  from?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split(/\r\n|[\r\n]/);
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  from?.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}

/** The last lines of a command's output, for an error's evidence. */
export function lastLines(result: RunResult, count = 20): string[] {
  const { stdout, stderr } = result.shown ?? result;
  const text = `${stdout}\n${stderr}`.trimEnd();
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-count);
}

/** "exit code 2", "killed by SIGKILL", "could not be started (ENOENT)". */
export function outcome(result: RunResult): string {
  if (result.startError !== undefined) return `could not be started (${result.startError})`;
  if (result.timedOut) return 'took too long and was ended';
  if (result.signal !== undefined) return `was ended by ${result.signal}`;
  return `ended with exit code ${String(result.exitCode)}`;
}
