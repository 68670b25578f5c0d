import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach } from 'vitest';
import type { Host, WriteOptions } from '../../src/host/host.js';
import { localHost } from '../../src/host/local.js';
import type { Argv, RunResult } from '../../src/host/process.js';

const made: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-host-'));
  made.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

export const ended = (given: Partial<RunResult> = {}): RunResult => ({
  exitCode: 0,
  signal: undefined,
  stdout: '',
  stderr: '',
  startError: undefined,
  timedOut: false,
  ...given,
});

export interface Rooted extends Host {
  /** The folder that stands for "/". */
  readonly root: string;
  /** Every command that was asked for, joined with spaces. */
  readonly commands: string[];
  /** Writes a file below the root. */
  put(at: string, text: string, mode?: number): void;
}

export interface RootedOptions {
  /** What programs answer; undefined: the program is not there. */
  readonly answer?: (argv: Argv) => Partial<RunResult> | undefined;
  /** Fails a call with an error of the system: returns its code. */
  readonly fail?: (call: string, at: string) => string | undefined;
}

/**
 * The real host below a temporary folder: real files, locks and renames, without root too (owners are then
 * this user). Only programs are answered by the test.
 */
export function rootedHost({ answer, fail }: RootedOptions = {}): Rooted {
  const root = temporaryFolder();
  const real = localHost();
  const commands: string[] = [];
  const at = (given: string): string => path.join(root, given);
  const owned = <T extends WriteOptions>(options: T): T =>
    process.getuid?.() === 0
      ? options
      : { ...options, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const fails = (call: string, given: string): void => {
    const code = fail?.(call, given);
    if (code !== undefined)
      throw Object.assign(new Error(`${code}: ${call} ${given}`), { code, path: given });
  };
  const run = async (argv: Argv): Promise<RunResult> => {
    commands.push(argv.join(' '));
    const said = answer?.(argv);
    return said === undefined ? ended({ exitCode: null, startError: 'ENOENT' }) : ended(said);
  };
  return {
    root,
    commands,
    put(given, text, mode = 0o644) {
      mkdirSync(path.dirname(at(given)), { recursive: true, mode: 0o755 });
      writeFileSync(at(given), text, { mode });
    },
    run,
    runLogged: async (argv, log) => {
      const result = await run(argv);
      await real.append(at(log), result.stdout + result.stderr);
      return { ...result, stopped: false, dropped: false };
    },
    jobSlots: (given, counts) => real.jobSlots(at(given), counts),
    read: async (given) => {
      fails('read', given);
      return real.read(at(given));
    },
    chunks: (given) => real.chunks(at(given)),
    create: async (given, options) => {
      fails('create', given);
      return real.create(at(given), owned(options));
    },
    lstat: async (given) => {
      const facts = await real.lstat(at(given));
      // Without root, this user is the one whose node it is.
      return facts === undefined || facts.uid !== process.getuid?.() ? facts : { ...facts, uid: 0 };
    },
    list: (given) => real.list(at(given)),
    sha256: (given) => real.sha256(at(given)),
    realpath: async (given) => {
      const found = await real.realpath(at(given));
      return found?.startsWith(root) === true ? `/${path.relative(root, found)}` : found;
    },
    readlink: (given) => real.readlink(at(given)),
    makeDirectory: async (given, options) => {
      fails('makeDirectory', given);
      await real.makeDirectory(at(given), owned(options));
    },
    ensureDirectory: async (given) =>
      (await real.ensureDirectory(at(given))).map((one) => `/${path.relative(root, one)}`),
    removeDirectory: (given) => real.removeDirectory(at(given)),
    writeDurable: async (given, bytes, options) => {
      fails('writeDurable', given);
      await real.writeDurable(at(given), bytes, owned(options));
    },
    copyDurable: async (from, given, options) => {
      fails('copyDurable', given);
      return real.copyDurable(at(from), at(given), owned(options));
    },
    linkDurable: (given, to) => real.linkDurable(at(given), to),
    appendDurable: async (given, text) => {
      fails('appendDurable', given);
      mkdirSync(path.dirname(at(given)), { recursive: true });
      await real.appendDurable(at(given), text);
    },
    append: (given, text) => real.append(at(given), text),
    rename: (from, to) => real.rename(at(from), at(to)),
    remove: async (given) => {
      fails('remove', given);
      await real.remove(at(given));
    },
    chown: (given, uid, gid) => real.chown(at(given), uid, gid),
    seal: (given, uid, maxEntries) => real.seal(at(given), uid, maxEntries),
    lock: (given) => {
      mkdirSync(path.dirname(at(given)), { recursive: true });
      return real.lock(at(given));
    },
    lockHolder: (given) => real.lockHolder(at(given)),
  };
}
