import { mkdir, open, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { invalidError, refusedError, usageError } from '../errors.js';
import { Sha256 } from '../model/grammar.js';
import { parseLock } from '../model/lock.js';
import { lockPathOf } from './lockfile.js';
import { ownedName, owner, ownerState, removeAbandoned } from './owner.js';
import { ifThere, reasonOf } from './read-bounded.js';
import { cacheUnreadable, unwritable } from './store.js';

/** The cache as a person sees it. Its entries are named by their digest: what they are, they say themselves. */

export type CacheKind = 'rpm' | 'source' | 'program' | 'git' | 'yum' | 'other';

export interface CacheEntry {
  readonly kind: CacheKind;
  /** What it calls itself; empty when it does not. */
  readonly name: string;
  /** null for git's and yum's own caches, which are folders. */
  readonly sha256: string | null;
  readonly path: string;
  readonly sizeBytes: number;
  /** When a run last took it from here or put it here; ISO 8601, UTC. */
  readonly usedAt: string;
}

export interface CacheList {
  readonly cacheDir: string;
  readonly sizeBytes: number;
  /** Oldest use first. */
  readonly entries: readonly CacheEntry[];
}

/** @throws BundleError exit 2 when it is there and cannot be read */
export async function listCache(cacheDir: string): Promise<CacheList> {
  await namesIn(cacheDir, false);
  const entries = [
    ...(await storeEntries(path.join(cacheDir, 'sha256'))),
    ...(await folderEntries(path.join(cacheDir, 'git'), 'git')),
    ...(await folderEntries(path.join(cacheDir, 'yum'), 'yum')),
  ].sort((a, b) => (a.usedAt < b.usedAt ? -1 : a.usedAt > b.usedAt ? 1 : a.path < b.path ? -1 : 1));
  return { cacheDir, sizeBytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), entries };
}

export interface PruneRequest {
  readonly cacheDir: string;
  /** What these name stays, however old it is. */
  readonly lockPaths: readonly string[];
  /** Only what no run has used for so long goes. */
  readonly olderThanDays: number;
  readonly dryRun: boolean;
  readonly nowMs: number;
}

export interface PruneResult {
  readonly cacheDir: string;
  readonly dryRun: boolean;
  readonly removed: readonly CacheEntry[];
  readonly removedBytes: number;
  readonly keptBytes: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what has not been used for a time and no given lock needs.
 * @throws BundleError exit 2 or 3 for a lock that is none; exit 5 while another run uses the cache
 */
export async function pruneCache(request: PruneRequest): Promise<PruneResult> {
  const { cacheDir } = request;
  const needed = await neededBy(request.lockPaths);
  await namesIn(cacheDir, false);
  await removeAbandoned(path.join(cacheDir, 'tmp'), '', true);
  await requireIdle(cacheDir);
  const { entries, sizeBytes } = await listCache(cacheDir);
  const before = request.nowMs - request.olderThanDays * DAY_MS;
  const removed = entries.filter(
    ({ sha256, usedAt }) => Date.parse(usedAt) <= before && !(sha256 !== null && needed.has(sha256)),
  );
  if (!request.dryRun)
    for (const entry of removed) {
      await rm(entry.path, { recursive: true, force: true }).catch((cause: unknown) => {
        throw unwritable(entry.path, cause);
      });
      // The folder of its first two digits, when it was the last one there.
      await rmdir(path.dirname(entry.path)).catch(() => undefined);
    }
  const removedBytes = removed.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  return { cacheDir, dryRun: request.dryRun, removed, removedBytes, keptBytes: sizeBytes - removedBytes };
}

/** Says that this process uses the cache. A mark of a killed one means nothing, and the next run removes it. */
export async function markRun(cacheDir: string): Promise<void> {
  const folder = path.join(cacheDir, 'tmp');
  if ((await marks(cacheDir)).some((name) => name.includes(owner))) return;
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, ownedName('run')), '');
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

export async function unmarkRun(cacheDir: string): Promise<void> {
  for (const name of await marks(cacheDir).catch((): string[] => []))
    if (name.includes(owner)) await rm(path.join(cacheDir, 'tmp', name), { force: true });
}

async function requireIdle(cacheDir: string): Promise<void> {
  const others = (await marks(cacheDir)).filter(
    (name) => ownerState(name) !== 'dead' && !name.includes(owner),
  );
  const [other] = others;
  if (other === undefined) return;
  throw refusedError({
    code: 'CACHE_IN_USE',
    message: 'another run uses the cache: what it needs next is not known',
    where: path.join(cacheDir, 'tmp', other),
    hint: `Wait for its end (process ${other.split('-')[2] ?? '?'} of the machine that made the file above), then run the command again.`,
  });
}

async function marks(cacheDir: string): Promise<string[]> {
  const names = await namesIn(path.join(cacheDir, 'tmp'));
  return names.filter((name) => name.startsWith('run.'));
}

/** What is not there holds nothing; what may not be read does. */
async function namesIn(folder: string, mayBeFile = true): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || (mayBeFile && code === 'ENOTDIR')) return [];
    throw cacheUnreadable(folder, cause);
  }
}

async function neededBy(lockPaths: readonly string[]): Promise<Set<string>> {
  const needed = new Set<string>();
  for (const file of lockPaths) {
    if (/\.ya?ml$/.test(file))
      throw invalidError({
        code: 'BAD_LOCK',
        message: 'this is a manifest; its lock is wanted, so nothing was removed',
        where: file,
        hint: `Give the lock: ${lockPathOf(file)}`,
      });
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw usageError({
        code: 'LOCK_UNREADABLE',
        message: `the lock cannot be read, so nothing was removed: ${reasonOf(cause)}`,
        where: file,
        hint: `See: ls -l ${file}`,
        cause,
      });
    });
    const lock = parseLock(text, file, file.replace(/\.lock\.json$/, '.yaml'));
    for (const { sha256 } of [...lock.rpms, ...lock.sources, lock.runtime]) needed.add(sha256);
    // The archive that the runtime came out of, where it was kept.
    needed.add(lock.runtime.pinned);
  }
  return needed;
}

async function storeEntries(folder: string): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const first of await namesIn(folder))
    for (const rest of await namesIn(path.join(folder, first))) {
      const file = path.join(folder, first, rest);
      const sha256 = Sha256.safeParse(first + rest);
      const found = await ifThere(stat(file));
      if (!sha256.success || found?.isFile() !== true) continue;
      entries.push({
        ...(await describe(file)),
        sha256: sha256.data,
        path: file,
        sizeBytes: found.size,
        usedAt: found.mtime.toISOString(),
      });
    }
  return entries;
}

async function folderEntries(folder: string, kind: 'git' | 'yum'): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const name of await namesIn(folder)) {
    const at = path.join(folder, name);
    let sizeBytes = 0;
    let usedMs = 0;
    for (const file of await readdir(at, { recursive: true }).catch((): string[] => [])) {
      const found = await ifThere(stat(path.join(at, file)));
      sizeBytes += found?.isFile() === true ? found.size : 0;
      usedMs = Math.max(usedMs, found?.mtimeMs ?? 0);
    }
    entries.push({ kind, name, sha256: null, path: at, sizeBytes, usedAt: new Date(usedMs).toISOString() });
  }
  return entries;
}

/** From its first bytes: an RPM's lead holds its name, a source's tar begins with its commit (git-archive(1)). */
async function describe(file: string): Promise<Pick<CacheEntry, 'kind' | 'name'>> {
  const head = Buffer.alloc(1024);
  const handle = await open(file, 'r');
  try {
    await handle.read(head, 0, head.length, 0);
  } finally {
    await handle.close();
  }
  const text = (from: number, length: number): string =>
    (head.toString('latin1', from, from + length).split('\0')[0] ?? '').replace(/[^\x20-\x7e]/g, '?');
  if (head.readUInt32BE(0) === 0xedabeedb) return { kind: 'rpm', name: text(10, 66) };
  if (text(257, 5) === 'ustar') {
    const commit = /comment=([0-9a-f]{40})/.exec(text(512, 512))?.[1];
    return { kind: 'source', name: commit === undefined ? text(0, 100) : `commit ${commit}` };
  }
  if (text(1, 3) === 'ELF' || text(0, 2) === '#!') return { kind: 'program', name: '' };
  return { kind: 'other', name: '' };
}
