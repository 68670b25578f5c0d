import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  promises as fs,
  openSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { atMost } from './at-most.js';
import type { FileFacts, Host, WriteOptions } from './host.js';
import { openJobSlots } from './job-slots.js';
import { findLockHolder } from './lock-holder.js';
import type { Argv, RunOptions } from './process.js';
import { run, runLogged } from './process.js';
import { sealFolder } from './seal.js';
import { temporaryName } from './temporary.js';

/** The environment of every child on the target: no variable of the caller gets through. */
export const CLEAN_ENVIRONMENT: Readonly<Record<string, string>> = {
  LC_ALL: 'C',
  TZ: 'UTC',
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  TERM: 'dumb',
};

const COPY_BYTES = 1024 * 1024;
/** So much is in the page cache before another thread has begun. */
const SMALL_BYTES = 64 * 1024;

/** What somebody else may have put there: no link is followed, and a FIFO or a device holds nothing up. */
const OPEN_TO_READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const OPEN_TO_APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
const LOCK_CONFLICT = 75;

/** This machine. Only the entries make one. */
export function localHost(): Host {
  const runClean = (argv: Argv, options: RunOptions = {}): ReturnType<Host['run']> =>
    run(argv, { cwd: '/', detached: true, ...options, env: { ...CLEAN_ENVIRONMENT, ...options.env } });

  /** EL7 without SELinux has no restorecon; where it is disabled the command does nothing. */
  const label = async (path: string, like: string): Promise<void> => {
    const context = await runClean(['matchpathcon', '-n', like]);
    if (context.exitCode === 0) await runClean(['chcon', context.stdout.trim(), path]);
  };

  let selinux: Promise<boolean> | undefined;
  const selinuxOn = (): Promise<boolean> => {
    selinux ??= runClean(['selinuxenabled']).then((result) => result.exitCode === 0);
    return selinux;
  };

  const settle = async (
    handle: fs.FileHandle,
    temporary: string,
    path: string,
    options: WriteOptions,
  ): Promise<void> => {
    await handle.chown(options.uid ?? 0, options.gid ?? 0);
    await handle.chmod(options.mode);
    await handle.sync();
    if (await selinuxOn()) await label(temporary, path);
    await fs.rename(temporary, path);
    await syncDirectory(dirname(path));
  };

  const intoTemporary = async (
    path: string,
    options: WriteOptions,
    fill: (handle: fs.FileHandle) => Promise<boolean>,
  ): Promise<void> => {
    const temporary = temporaryName(path);
    await fs.rm(temporary, { force: true });
    const handle = await fs.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      if (await fill(handle)) await settle(handle, temporary, path, options);
    } catch (error) {
      throw withPath(error, path);
    } finally {
      await handle.close();
      await fs.rm(temporary, { force: true });
    }
  };

  const directories = oneAtATime();

  return {
    run: runClean,
    runLogged: (argv, log, options = {}) =>
      runLogged(argv, log, { cwd: '/', ...options, env: { ...CLEAN_ENVIRONMENT, ...options.env } }),
    jobSlots: openJobSlots,
    read: (path) => fs.readFile(path).catch(missing),
    async *chunks(path, buffer) {
      const handle = await openFile(path);
      try {
        yield* chunks(handle, buffer);
      } finally {
        await handle.close();
      }
    },
    // Not through the thread pool, but for a large piece: its round trips cost more than a small file.
    create: (path, options) =>
      promised(() => {
        const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
        return {
          write: (bytes) =>
            bytes.length > SMALL_BYTES ? writeLarge(file, bytes) : promised(() => writeSmall(file, bytes)),
          close: () =>
            promised(() => {
              try {
                fchownSync(file, options.uid ?? 0, options.gid ?? 0);
                fchmodSync(file, options.mode);
              } finally {
                closeSync(file);
              }
            }),
        };
      }),
    lstat: (path) => fs.lstat(path).then(factsOf).catch(missing),
    list: async (path) => ((await fs.readdir(path).catch(missing)) ?? []).sort(),
    sha256: (path) => hashing(() => hashFile(path)),
    realpath: (path) => fs.realpath(path).catch(missing),
    readlink: (path) =>
      fs.readlink(path).catch((error: unknown) => {
        if (codeOf(error) === 'EINVAL') return undefined;
        missing(error);
      }),
    makeDirectory: (path, options) => directories(() => makeDirectory(path, options)),
    ensureDirectory: async (path) => {
      const first = await fs.mkdir(path, { recursive: true, mode: 0o755 });
      const made: string[] = [];
      if (first === undefined) return made;
      for (let one = path; one.length >= first.length; one = dirname(one)) made.unshift(one);
      return made;
    },
    removeDirectory: (path) =>
      fs.rmdir(path).then(
        () => true,
        (error: unknown) => {
          if (['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(codeOf(error) ?? ''))
            return false;
          throw error;
        },
      ),
    writeDurable: (path, bytes, options) =>
      intoTemporary(path, options, async (handle) => {
        await handle.writeFile(bytes);
        return true;
      }),
    async copyDurable(from, path, options) {
      const hash = createHash('sha256');
      const source = await openFile(from);
      let sha256 = '';
      try {
        await intoTemporary(path, options, async (handle) => {
          for await (const chunk of chunks(source)) {
            hash.update(chunk);
            await writeAll(handle, chunk);
          }
          sha256 = hash.digest('hex');
          return options.sha256 === undefined || options.sha256 === sha256;
        });
      } finally {
        await source.close();
      }
      return sha256;
    },
    async linkDurable(path, to) {
      const temporary = temporaryName(path);
      await fs.rm(temporary, { force: true });
      await fs.symlink(to, temporary);
      await fs.rename(temporary, path);
      await syncDirectory(dirname(path));
    },
    async appendDurable(path, text) {
      const handle = await fs.open(path, OPEN_TO_APPEND, 0o600);
      try {
        await handle.writeFile(text);
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
    append: (path, text) => fs.appendFile(path, text, { mode: 0o600, flag: OPEN_TO_APPEND }),
    rename: (from, to) => fs.rename(from, to),
    remove: async (path) => {
      const facts = await fs.lstat(path).catch(missing);
      if (facts?.isDirectory() !== true) return fs.rm(path, { force: true });
      // Node removes by path: a directory exchanged for a link meanwhile would lead it out of the tree, and a
      // tree deeper than a path is long stays. rm goes from descriptor to descriptor.
      const done = await runClean(['rm', '-rf', '--one-file-system', '--', path]);
      if (done.exitCode !== 0) throw removeError(path, done.stderr.trim());
    },
    chown: (path, uid, gid) => fs.chown(path, uid, gid),
    seal: sealFolder,
    lock: holdLock,
    lockHolder: findLockHolder,
  };
}

const freshBuffer = (): Promise<Buffer> => Promise.resolve(Buffer.allocUnsafe(COPY_BYTES));

/** Reads a file from where it stands, in pieces of at most 1 MiB. */
async function* chunks(handle: fs.FileHandle, buffer = freshBuffer): AsyncGenerator<Buffer> {
  for (;;) {
    const piece = await buffer();
    const { bytesRead } = await handle.read(piece, 0, Math.min(piece.length, COPY_BYTES), null);
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
  }
}

/** It appears with owner and mode: one that a killed run had made without them would be taken for finished. */
async function makeDirectory(path: string, options: WriteOptions): Promise<void> {
  await fs.mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const isNew = (await fs.lstat(path).catch(missing)) === undefined;
  const made = isNew ? temporaryName(path) : path;
  if (isNew) {
    await fs.rmdir(made).catch(missing);
    await fs.mkdir(made, { mode: 0o700 });
  }
  await fs.chown(made, options.uid ?? 0, options.gid ?? 0);
  await fs.chmod(made, options.mode);
  if (isNew) await fs.rename(made, path);
}

/** Components are built side by side and may want the same folder, whose temporary name is one. */
function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  };
}

/** What fails at once fails as a promise does. */
async function promised<T>(work: () => T): Promise<T> {
  return Promise.resolve(work());
}

const writeToFile = promisify(write);

async function writeLarge(file: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;)
    at += (await writeToFile(file, bytes, at, bytes.length - at, null)).bytesWritten;
}

function writeSmall(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
}

/** fs.write may write less than it was given. */
async function writeAll(handle: fs.FileHandle, bytes: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < bytes.length) offset += (await handle.write(bytes, offset)).bytesWritten;
}

/** @throws ELOOP for a link, and for what is no regular file */
async function openFile(path: string): Promise<fs.FileHandle> {
  const handle = await fs.open(path, OPEN_TO_READ);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  const code = 'ELOOP';
  throw Object.assign(new Error(`${code}: this is not a regular file, open '${path}'`), { code, path });
}

/** rm tells in words what a system call would tell by its code. */
function removeError(path: string, words: string): Error {
  const codes = { EROFS: 'Read-only file system', EBUSY: 'busy', EPERM: 'not permitted', EACCES: 'denied' };
  const code = Object.entries(codes).find(([, word]) => words.includes(word))?.[0] ?? 'EIO';
  return Object.assign(new Error(`${code}: ${words.split('\n')[0] ?? ''}`), { code, path });
}

/** A receipt can name 20,000 files, and CentOS 7 lets a process open 4,096. */
const hashing = atMost(32);

async function hashFile(path: string): Promise<string | undefined> {
  const handle = await fs.open(path, OPEN_TO_READ).catch((error: unknown) => {
    if (codeOf(error) === 'ELOOP') return undefined;
    missing(error);
  });
  if (handle === undefined) return undefined;
  try {
    if (!(await handle.stat()).isFile()) return undefined;
    const hash = createHash('sha256');
    for await (const chunk of chunks(handle)) hash.update(chunk);
    return hash.digest('hex');
  } finally {
    await handle.close();
  }
}

/** A rename is durable when the directory that holds the name is. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Node has no flock(2): util-linux's flock holds the lock in a child that ends with its stdin, so
 * that a killed installer releases it.
 */
function holdLock(path: string): ReturnType<Host['lock']> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'flock',
      ['-n', '-E', String(LOCK_CONFLICT), path, 'sh', '-c', 'echo held; exec cat'],
      {
        env: CLEAN_ENVIRONMENT,
        stdio: ['pipe', 'pipe', 'ignore'],
        // A Ctrl-C goes to the whole foreground group: the lock stays until this process is done undoing.
        detached: true,
      },
    );
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code === LOCK_CONFLICT) resolve(undefined);
      else reject(new Error(`flock ${path} ended with exit code ${String(code)}`));
    });
    child.stdout.once('data', () => {
      child.unref();
      resolve({
        release: () =>
          new Promise<void>((done) => {
            child.ref();
            child.once('close', () => {
              done();
            });
            child.stdin.end();
          }),
      });
    });
  });
}

function factsOf(stats: Awaited<ReturnType<typeof fs.lstat>>): FileFacts {
  const kind = stats.isFile()
    ? 'file'
    : stats.isDirectory()
      ? 'directory'
      : stats.isSymbolicLink()
        ? 'link'
        : 'other';
  return {
    kind,
    mode: Number(stats.mode) & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    sizeBytes: Number(stats.size),
    modifiedMs: Number(stats.mtimeMs),
  };
}

/** A write to an open file names no path in its error; which disk is full has to be told. */
function withPath(error: unknown, path: string): unknown {
  if (codeOf(error) === undefined || (error as NodeJS.ErrnoException).path !== undefined) return error;
  return Object.assign(error as NodeJS.ErrnoException, { path });
}

function missing(error: unknown): undefined {
  const code = codeOf(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
