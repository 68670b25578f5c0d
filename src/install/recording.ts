import { basename } from 'node:path';
import type { Host } from '../host/host.js';
import type { RunResult } from '../host/process.js';
import { isCandidate, isTemporary } from '../host/temporary.js';
import { Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';
import { octal } from '../model/octal.js';
import type { PathState, RecordedCommand } from '../model/run-receipt.js';
import type { SecretCover } from './secret-cover.js';

const MAX_COMMANDS = 10_000;
const MAX_FILES = 10_000;

/** What went through a recording host. */
export interface Recording {
  /** The same host; its commands and the files that it writes are taken note of. */
  readonly host: Host;
  commands(): { readonly list: readonly RecordedCommand[]; readonly more: number };
  /** Every path that was written, as it was before the first time. */
  written(): { readonly before: ReadonlyMap<string, PathState | null>; readonly more: number };
}

/**
 * Takes note of each command with its exit code and duration, and of what was at each path before it was
 * written. What commands say is not kept; secrets in it are covered where people will read it.
 * @param now milliseconds, monotonic
 */
export function recordingHost(host: Host, now: () => number, { cover }: SecretCover): Recording {
  const list: RecordedCommand[] = [];
  const before = new Map<string, PathState | null>();
  let moreCommands = 0;
  const moreFiles = new Set<string>();

  const timed = async <T extends RunResult>(argv: readonly string[], work: () => Promise<T>): Promise<T> => {
    const start = now();
    const result = await work();
    if (list.length >= MAX_COMMANDS) moreCommands += 1;
    else list.push(commandOf(argv.map(cover), result, now() - start));
    return withCover(result, cover);
  };
  const note = async (path: string): Promise<void> => {
    if (isOwnPlace(path) || before.has(path)) return;
    if (before.size >= MAX_FILES) moreFiles.add(path);
    else if ((await host.lstat(path))?.kind !== 'directory') before.set(path, await pathState(host, path));
  };

  return {
    commands: () => ({ list, more: moreCommands }),
    written: () => ({ before, more: moreFiles.size }),
    host: {
      ...host,
      run: (argv, options) => timed(argv, () => host.run(argv, options)),
      runLogged: (argv, log, options) => timed(argv, () => host.runLogged(argv, log, options)),
      create: async (path, options) => {
        await note(path);
        return host.create(path, options);
      },
      writeDurable: async (path, bytes, options) => {
        await note(path);
        return host.writeDurable(path, bytes, options);
      },
      copyDurable: async (from, path, options) => {
        await note(path);
        return host.copyDurable(from, path, options);
      },
      linkDurable: async (path, to) => {
        await note(path);
        return host.linkDurable(path, to);
      },
      rename: async (from, to) => {
        await note(from);
        await note(to);
        return host.rename(from, to);
      },
      remove: async (path) => {
        await note(path);
        return host.remove(path);
      },
    },
  };
}

/** What is at a path now; null: nothing, or no file. */
export async function pathState(host: Host, path: string): Promise<PathState | null> {
  const facts = await host.lstat(path);
  if (facts?.kind === 'link') return { link: (await host.readlink(path)) ?? '' };
  if (facts?.kind !== 'file') return null;
  const { uid, gid, mode } = facts;
  const sha256 = await host.sha256(path);
  return sha256 === undefined ? null : { sha256: Sha256.parse(sha256), mode: octal(mode), uid, gid };
}

/** What the program keeps for itself, and what a file is called while it is written or tested. */
function isOwnPlace(path: string): boolean {
  return (
    [target.state, target.log].some((folder) => path === folder || path.startsWith(`${folder}/`)) ||
    path === target.lock ||
    isCandidate(basename(path)) ||
    isTemporary(basename(path))
  );
}

function commandOf(argv: string[], result: RunResult, durationMs: number): RecordedCommand {
  const { exitCode, signal, startError, timedOut } = result;
  return {
    argv,
    exitCode,
    ...(signal === undefined ? {} : { signal }),
    ...(startError === undefined ? {} : { startError }),
    ...(timedOut ? { timedOut } : {}),
    durationMs: Math.round(durationMs),
  };
}

function withCover<T extends RunResult>(result: T, cover: SecretCover['cover']): T {
  const shown = { stdout: cover(result.stdout), stderr: cover(result.stderr) };
  return shown.stdout === result.stdout && shown.stderr === result.stderr ? result : { ...result, shown };
}
