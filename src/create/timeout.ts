import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { BundleError } from '../errors.js';
import { stepError } from '../errors.js';

/** Slower than this is counted as stalled; yum has its own limit, see yumConf. */
export const LEAST_BYTES_PER_SECOND = 100;

/** How long a server may send next to nothing: AIRBUNDLE_TIMEOUT in seconds, 120 otherwise. */
export function timeoutSecondsOf(env: Readonly<Record<string, string>>): number {
  const seconds = Number(env['AIRBUNDLE_TIMEOUT'] ?? '');
  return Number.isInteger(seconds) && seconds > 0 ? seconds : 120;
}

export interface MovingRequest {
  readonly seconds: number;
  readonly signal?: AbortSignal;
  /** What has come so far, in bytes; asked now and then. */
  readonly moved: () => number | Promise<number>;
}

/**
 * Runs `work` as long as something moves: its signal is aborted when in `seconds` less has come than
 * LEAST_BYTES_PER_SECOND of them. There is no limit on the whole.
 */
export async function whileMoving<T>(
  request: MovingRequest,
  work: (signal: AbortSignal, stalled: () => boolean) => Promise<T>,
): Promise<T> {
  const windowMs = request.seconds * 1000;
  const stop = new AbortController();
  let since = { atMs: performance.now(), bytes: await request.moved() };
  const look = async (): Promise<void> => {
    const bytes = await request.moved();
    const nowMs = performance.now();
    if (bytes - since.bytes >= LEAST_BYTES_PER_SECOND * request.seconds) since = { atMs: nowMs, bytes };
    else if (nowMs - since.atMs >= windowMs) stop.abort(new Error('stalled'));
  };
  const timer = setInterval(() => void look(), Math.min(windowMs / 4, 5000));
  try {
    const { signal } = request;
    return await work(
      AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]),
      () => stop.signal.aborted,
    );
  } finally {
    clearInterval(timer);
  }
}

/** Bytes of all files below a folder, as far as they are there. */
export async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(path.join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

export function stalledError(given: {
  readonly what: string;
  readonly seconds: number;
  readonly where?: string;
  readonly details?: readonly string[];
  /** One more line of what to do. */
  readonly hint?: string;
  readonly cause?: unknown;
}): BundleError {
  const { what, seconds, hint = '', ...rest } = given;
  return stepError({
    code: 'STALLED',
    message: `${what} stalled: for ${String(seconds)} s nothing came, or next to nothing`,
    hint: `Run the command again: what has come whole is kept. If it stays: another mirror, or more patience: AIRBUNDLE_TIMEOUT=${String(seconds * 4)}${hint}`,
    ...rest,
  });
}
