import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** What a program and all that it starts asked the kernel for: work that does not depend on the machine. */
export interface SystemCalls {
  /** Bytes that came from files below a path. */
  readBytes(below: string): number;
  /** Bytes that went into them. */
  writtenBytes(below: string): number;
  /** How often files below a path were opened. */
  opened(below: string): number;
  /** fsync and fdatasync. */
  synced(): number;
}

export const hasStrace = spawnSync('strace', ['-V']).status === 0;

interface Call {
  readonly name: string;
  readonly path: string;
  readonly result: number;
}

const TRACED = 'openat,read,pread64,readv,preadv,write,pwrite64,writev,pwritev,fsync,fdatasync';

/** Runs a program under strace (https://man7.org/linux/man-pages/man1/strace.1.html). @throws when it fails */
export function systemCallsOf(argv: readonly string[]): SystemCalls {
  const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-strace-'));
  const file = path.join(folder, 'trace');
  try {
    execFileSync('strace', ['-f', '-y', '-qq', '-s', '0', '-e', `trace=${TRACED}`, '-o', file, ...argv], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const calls = callsIn(readFileSync(file, 'utf8'));
    const sum = (wanted: readonly string[], below: string): number =>
      calls
        .filter(({ name, path: at }) => wanted.includes(name) && at.startsWith(below))
        .reduce((total, { result }) => total + result, 0);
    return {
      readBytes: (below) => sum(['read', 'pread64', 'readv', 'preadv'], below),
      writtenBytes: (below) => sum(['write', 'pwrite64', 'writev', 'pwritev'], below),
      opened: (below) =>
        calls.filter(({ name, path: at }) => name === 'openat' && at.startsWith(below)).length,
      synced: () => calls.filter(({ name }) => name.endsWith('sync')).length,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Pure: the calls that did not fail. With several threads one call may stand on two lines, the first with its
 * arguments, the other with its result.
 */
export function callsIn(trace: string): Call[] {
  const begun = new Map<string, string>();
  return trace.split('\n').flatMap((line) => {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (text.endsWith('<unfinished ...>')) {
      begun.set(thread, text.slice(0, -'<unfinished ...>'.length));
      return [];
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
    const whole = resumed === undefined ? text : `${begun.get(thread) ?? ''}${resumed}`;
    const [, name = '', result = ''] = /^(\w+)\(.*\) += (-?\d+)/.exec(whole) ?? [];
    if (name === '' || result.startsWith('-')) return [];
    // openat says its path where it says its result: 17</path>.
    const at = (name === 'openat' ? / = \d+<([^>]*)>/ : /^\w+\(\d+<([^>]*)>/).exec(whole)?.[1] ?? '';
    return [{ name, path: at, result: Number(result) }];
  });
}
