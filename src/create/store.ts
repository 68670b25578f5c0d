import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, stat, utimes } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { BundleError } from '../errors.js';
import { stepError, untrustedError, usageError } from '../errors.js';
import { Sha256 } from '../model/grammar.js';
import { ownedName, removeAbandoned } from './owner.js';
import { ifThere, reasonOf } from './read-bounded.js';

/** Everything that was fetched, under its SHA-256: RPMs, exported sources, the runtime. */
export interface Store {
  has(sha256: Sha256): Promise<boolean>;
  /** There, with these very bytes. A damaged entry is one to fetch again, which mends it. */
  intact(sha256: Sha256): Promise<boolean>;
  /** Says that they were used now: "bundle cache prune" goes by it. */
  touch(sha256s: readonly Sha256[]): Promise<void>;
  /** Where the entry is, or would be; read-only. */
  path(sha256: Sha256): string;
  /**
   * Keeps a stream. An entry that is there already is replaced by the same bytes, which mends a damaged one.
   * @throws BundleError exit 4 when the bytes do not have the digest `expected`; exit 6 when they cannot be written
   */
  put(bytes: AsyncIterable<Uint8Array>, expected?: Sha256): Promise<{ sha256: Sha256; sizeBytes: number }>;
}

export interface StoreOptions {
  /** The cache's folder; made when missing. Several processes may use it at once. */
  readonly directory: string;
}

/** `$XDG_CACHE_HOME/airbundle`, or `~/.cache/airbundle`. */
export function defaultCacheDirectory(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): string {
  const base = env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is invalid and to be ignored.
  return path.join(
    base !== undefined && path.isAbsolute(base) ? base : path.join(home, '.cache'),
    'airbundle',
  );
}

export async function openStore(options: StoreOptions): Promise<Store> {
  const entries = path.join(options.directory, 'sha256');
  const temporary = path.join(options.directory, 'tmp');
  try {
    await mkdir(entries, { recursive: true });
    await mkdir(temporary, { recursive: true });
  } catch (cause) {
    throw unwritable(options.directory, cause);
  }
  await removeAbandoned(temporary, '', true);

  const pathOf = (sha256: Sha256): string => path.join(entries, sha256.slice(0, 2), sha256.slice(2));
  return {
    path: pathOf,
    async has(sha256) {
      const found = await ifThere(stat(pathOf(sha256))).catch((cause: unknown) => {
        throw cacheUnreadable(pathOf(sha256), cause);
      });
      return found?.isFile() === true;
    },
    async intact(sha256) {
      const file = pathOf(sha256);
      const hash = createHash('sha256');
      try {
        await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash);
      } catch (cause) {
        if (isForbidden(cause)) throw cacheUnreadable(file, cause);
        return false;
      }
      return hash.digest('hex') === sha256;
    },
    async touch(sha256s) {
      const now = new Date();
      // Another user's cache may be read-only for us: no matter.
      for (const sha256 of sha256s) await utimes(pathOf(sha256), now, now).catch(() => undefined);
    },
    async put(bytes, expected) {
      // At once: what a child wrote and nobody has begun to read when it exits, Node throws away (child_process, flushStdio).
      const chunks = bytes[Symbol.asyncIterator]();
      const first = chunks.next();
      first.catch(() => undefined);
      const name = path.join(temporary, ownedName('entry'));
      let file: FileHandle | undefined;
      try {
        file = await open(name, 'wx', 0o600).catch((cause: unknown) => {
          throw unwritable(name, cause);
        });
        const { sha256, sizeBytes } = await writeHashed(first, chunks, file, name);
        if (expected !== undefined && sha256 !== expected) throw wrongDigest(expected, sha256, sizeBytes);
        try {
          await file.chmod(0o444);
          await file.sync();
          await file.close();
          file = undefined;
          await mkdir(path.dirname(pathOf(sha256)), { recursive: true });
          await rename(name, pathOf(sha256));
        } catch (cause) {
          throw unwritable(pathOf(sha256), cause);
        }
        return { sha256, sizeBytes };
      } finally {
        // Not awaited: it would wait for a stream that stalls.
        void chunks.return?.().catch(() => undefined);
        await file?.close();
        await rm(name, { force: true });
      }
    },
  };
}

async function writeHashed(
  first: Promise<IteratorResult<Uint8Array, unknown>>,
  chunks: AsyncIterator<Uint8Array, unknown>,
  file: FileHandle,
  name: string,
): Promise<{ sha256: Sha256; sizeBytes: number }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for (let next = await first; next.done !== true; next = await chunks.next()) {
    const written = writeAll(file, next.value, sizeBytes);
    hash.update(next.value);
    await written.catch((cause: unknown) => {
      throw unwritable(name, cause);
    });
    sizeBytes += next.value.length;
  }
  return { sha256: Sha256.parse(hash.digest('hex')), sizeBytes };
}

/** Writes every byte at `position`; a write that takes only some of them goes on with the rest. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new Error('the file takes no more bytes');
    done += bytesWritten;
  }
}

/** Exit 6 for a disk that is full, read-only or not ours. */
export function unwritable(file: string, cause: unknown): Error {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const reasons: Record<string, [string, string]> = {
    ENOSPC: ['the disk is full', 'Make room there (see: df -h), or choose another folder.'],
    EDQUOT: ['the disk quota is used up', 'Make room there (see: quota), or choose another folder.'],
    EFBIG: [
      'a file may not be that large there',
      'Raise the limit (see: ulimit -f), or choose another file system.',
    ],
    EROFS: ['the file system is read-only', 'Choose another folder.'],
    EACCES: ['permission denied', 'Choose a folder that you may write to.'],
    EPERM: ['the system does not permit it', `See: ls -ld ${file}; lsattr -d ${file}`],
    EEXIST: ['a file is where a folder is wanted', 'Move it away, or choose another folder.'],
    ENOTDIR: ['a part of the path is a file, not a folder', 'Choose another folder.'],
    EISDIR: ['a folder is where a file is wanted', 'Move it away, or choose another folder.'],
    ENAMETOOLONG: ['the name is too long', 'Choose a shorter path.'],
  };
  const [reason, hint] = reasons[code] ?? [
    cause instanceof Error ? cause.message : String(cause),
    'Check the disk, then run the command again.',
  ];
  return stepError({ code: 'CANNOT_WRITE', message: `cannot write: ${reason}`, where: file, hint, cause });
}

function isForbidden(cause: unknown): boolean {
  return ['EACCES', 'EPERM'].includes((cause as NodeJS.ErrnoException).code ?? '');
}

/** Exit 2 for a cache that is there and may not be looked at. */
export function cacheUnreadable(where: string, cause: unknown): BundleError {
  return usageError({
    code: 'CACHE_UNREADABLE',
    message: `the cache cannot be read: ${(cause as NodeJS.ErrnoException).code === 'ENOTDIR' ? 'it is not a folder' : reasonOf(cause)}`,
    where,
    hint: `See whose it is: ls -ld ${where}\nor use a cache of your own: --cache FOLDER`,
    cause,
  });
}

function wrongDigest(expected: Sha256, actual: Sha256, sizeBytes: number): Error {
  return untrustedError({
    code: 'WRONG_DIGEST',
    message: 'what arrived is not what was expected',
    details: [`expected sha256 ${expected}`, `received sha256 ${actual} (${String(sizeBytes)} bytes)`],
    hint: 'Run it again: a broken transfer heals. If it stays, the origin holds something else than what was locked.',
  });
}

/** A folder for a command's own files, in the cache. The caller removes it; after a kill the next run does. */
export async function scratchFolder(cacheDir: string, what: string): Promise<string> {
  const temporary = path.join(cacheDir, 'tmp');
  try {
    await mkdir(temporary, { recursive: true });
    return await mkdtemp(path.join(temporary, `${ownedName(what)}-`));
  } catch (cause) {
    throw unwritable(temporary, cause);
  }
}
