import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { listCache, markRun, pruneCache, unmarkRun } from '../../src/create/cache.js';
import type { PruneRequest } from '../../src/create/cache.js';
import { owner } from '../../src/create/owner.js';
import { openStore } from '../../src/create/store.js';
import { formatLock } from '../../src/model/lock.js';
import { ustarHeader } from '../../src/model/ustar.js';
import { chunks, failureOf, sha256Of, temporaryFolder } from './create-support.js';

const DAY_S = 86_400;

async function setting() {
  const cacheDir = temporaryFolder();
  const store = await openStore({ directory: cacheDir });
  const rpm = Buffer.alloc(96);
  rpm.writeUInt32BE(0xedabeedb, 0);
  rpm.write('zlib-1.2.7-17.el7', 10);
  const source = ustarHeader({ path: 'thing/a.c', mode: 0o644, sizeBytes: 0 });
  const kept = {
    rpm: await store.put(chunks(rpm)),
    source: await store.put(chunks(source)),
    runtime: await store.put(chunks('\x7fELF')),
    other: await store.put(chunks('hello')),
  };
  const git = path.join(cacheDir, 'git', 'abc.git');
  mkdirSync(git, { recursive: true });
  writeFileSync(path.join(git, 'HEAD'), 'ref: x\n');
  const nowMs = Date.now();
  const age = (file: string, days: number): void => {
    utimesSync(file, nowMs / 1000 - days * DAY_S, nowMs / 1000 - days * DAY_S);
  };
  age(store.path(kept.rpm.sha256), 40);
  age(store.path(kept.other.sha256), 20);
  const lockPath = path.join(cacheDir, 'it.lock.json');
  writeFileSync(
    lockPath,
    formatLock({
      airbundleLock: 1,
      requested: { target: 'el7.x86_64', repositories: ['os'], packages: [] },
      rpms: [
        {
          ...kept.rpm,
          nevra: { name: 'zlib', epoch: 0, version: '1.2.7', release: '17.el7', arch: 'x86_64' },
          signer: 'A'.repeat(40),
          licence: '',
          summary: '',
          sourceRpm: '',
          repository: 'os',
          path: '',
        },
      ],
      sources: [],
      runtime: { ...kept.runtime, origin: 'x', version: '1', pinned: sha256Of('x'), path: '' },
    }),
  );
  const request: PruneRequest = { cacheDir, lockPaths: [], olderThanDays: 30, dryRun: false, nowMs };
  return { cacheDir, store, kept, request, lockPath };
}

describe('the cache', () => {
  it('lists what is in it, by what each entry says of itself, the longest unused first', async () => {
    const { cacheDir, kept } = await setting();
    const list = await listCache(cacheDir);
    expect(list.entries.map(({ kind, name }) => [kind, name]).slice(0, 2)).toEqual([
      ['rpm', 'zlib-1.2.7-17.el7'],
      ['other', ''],
    ]);
    expect(list.entries.map(({ kind }) => kind).sort()).toEqual(['git', 'other', 'program', 'rpm', 'source']);
    expect(list.entries.find(({ kind }) => kind === 'source')).toMatchObject({
      name: 'thing/a.c',
      ...kept.source,
    });
    expect(list.sizeBytes).toBe(list.entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    expect(await listCache('/nonexistent')).toEqual({ cacheDir: '/nonexistent', sizeBytes: 0, entries: [] });
  });

  it('loses what is unused for longer, and nothing in a dry run', async () => {
    const { store, kept, request } = await setting();
    const tried = await pruneCache({ ...request, dryRun: true });
    expect(tried.removed.map(({ sha256 }) => sha256)).toEqual([kept.rpm.sha256]);
    expect(await store.has(kept.rpm.sha256)).toBe(true);
    expect((await pruneCache(request)).removed).toEqual(tried.removed);
    expect(await store.has(kept.rpm.sha256)).toBe(false);
    expect(await store.has(kept.other.sha256)).toBe(true);
  });

  it('keeps what the given locks need, whatever its age', async () => {
    const { store, kept, request, lockPath, cacheDir } = await setting();
    const pruned = await pruneCache({
      ...request,
      olderThanDays: 0,
      lockPaths: [lockPath],
      nowMs: Date.now() + 1000,
    });
    expect(pruned.keptBytes).toBe(kept.rpm.sizeBytes + kept.runtime.sizeBytes);
    expect(await store.has(kept.rpm.sha256)).toBe(true);
    expect(await store.has(kept.source.sha256)).toBe(false);
    expect(existsSync(path.join(cacheDir, 'git', 'abc.git'))).toBe(false);
  });

  it('removes nothing when a lock cannot be read, or while another run is at work', async () => {
    const { request, lockPath, cacheDir } = await setting();
    const all = { ...request, olderThanDays: 0 };
    const before = await listCache(cacheDir);
    expect((await failureOf(pruneCache({ ...all, lockPaths: ['/nonexistent'] }))).code).toBe(
      'LOCK_UNREADABLE',
    );
    writeFileSync(lockPath, '{');
    expect((await failureOf(pruneCache({ ...all, lockPaths: [lockPath] }))).code).toBe('BAD_LOCK');
    // Process 1 runs, and is not this one; where its start cannot be read it counts as alive too.
    const other = path.join(cacheDir, 'tmp', `run.${owner.replace(/[0-9]+-[0-9]+$/, '1-0')}.abcdef`);
    writeFileSync(other, '');
    const failure = await failureOf(pruneCache(all));
    expect([failure.exit, failure.code]).toEqual([5, 'CACHE_IN_USE']);
    expect(await listCache(cacheDir)).toEqual(before);
    await markRun(cacheDir);
    await unmarkRun(cacheDir);
    expect(existsSync(other)).toBe(true);
  });
});
