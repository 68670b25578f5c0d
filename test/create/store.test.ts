import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultCacheDirectory, openStore } from '../../src/create/store.js';
import { owner } from '../../src/create/owner.js';
import { chunks, failureOf, sha256Of, temporaryFolder } from './create-support.js';

describe('the store', () => {
  it('keeps a stream under its digest, read-only, and leaves no temporary file', async () => {
    const directory = temporaryFolder();
    const store = await openStore({ directory });
    const kept = await store.put(chunks('one ', 'two'));
    expect(kept).toEqual({ sha256: sha256Of('one two'), sizeBytes: 7 });
    expect(store.path(kept.sha256)).toBe(
      path.join(directory, 'sha256', kept.sha256.slice(0, 2), kept.sha256.slice(2)),
    );
    expect(readFileSync(store.path(kept.sha256), 'utf8')).toBe('one two');
    expect(statSync(store.path(kept.sha256)).mode & 0o777).toBe(0o444);
    expect(readdirSync(path.join(directory, 'tmp'))).toEqual([]);
    expect(await store.has(kept.sha256)).toBe(true);
    expect(await store.has(sha256Of('three'))).toBe(false);
  });

  it('refuses bytes with another digest than expected, naming both, and keeps nothing', async () => {
    const directory = temporaryFolder();
    const store = await openStore({ directory });
    const failure = await failureOf(store.put(chunks('altered'), sha256Of('good')));
    expect(failure.exit).toBe(4);
    expect(failure.details.join('\n')).toContain(sha256Of('good'));
    expect(failure.details.join('\n')).toContain(sha256Of('altered'));
    expect(await store.has(sha256Of('altered'))).toBe(false);
    expect(readdirSync(path.join(directory, 'tmp'))).toEqual([]);
  });

  it('leaves nothing when the stream breaks off', async () => {
    const directory = temporaryFolder();
    const store = await openStore({ directory });
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* chunks('some');
      throw new Error('connection lost');
    }
    await expect(store.put(broken())).rejects.toThrow('connection lost');
    expect(readdirSync(path.join(directory, 'tmp'))).toEqual([]);
    expect(readdirSync(path.join(directory, 'sha256'))).toEqual([]);
  });

  it('lets many put the same and different bytes at once', async () => {
    const directory = temporaryFolder();
    const stores = await Promise.all(Array.from({ length: 8 }, () => openStore({ directory })));
    const kept = await Promise.all(
      stores.flatMap((store, index) => [
        store.put(chunks('same')),
        store.put(chunks(`own ${String(index)}`)),
      ]),
    );
    for (const { sha256 } of kept) expect(sha256Of(readFileSync(stores[0]?.path(sha256) ?? ''))).toBe(sha256);
    expect(new Set(kept.map((entry) => entry.sha256)).size).toBe(9);
  });

  it('mends a damaged entry when the bytes are put again', async () => {
    const store = await openStore({ directory: temporaryFolder() });
    const { sha256 } = await store.put(chunks('good'));
    const { chmodSync } = await import('node:fs');
    chmodSync(store.path(sha256), 0o644);
    writeFileSync(store.path(sha256), 'gooe');
    await store.put(chunks('good'), sha256);
    expect(readFileSync(store.path(sha256), 'utf8')).toBe('good');
  });

  it("gets all that a command wrote, even one that ends before the store's file is open", async () => {
    const store = await openStore({ directory: temporaryFolder() });
    const kept = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => store.put(spawn('echo', [String(index)]).stdout)),
    );
    expect(kept.map((entry) => entry.sha256)).toEqual(kept.map((_, index) => sha256Of(`${String(index)}\n`)));
  });

  it('removes what a killed process left: at once where its owner is known, after a day otherwise', async () => {
    const directory = temporaryFolder();
    await openStore({ directory });
    const [machine, boot] = owner.split('-');
    const dead = `entry.${machine ?? ''}-${boot ?? ''}-999999999-1.abcdef`;
    const reused = `entry.${owner.replace(/-[0-9]+$/, '-1')}.abcdef`;
    const earlierBoot = `entry.${machine ?? ''}-00000000-1-1.abcdef`;
    const elsewhere = 'entry.00000000-00000000-1-1.abcdef';
    const mine = `entry.${owner}.abcdef`;
    for (const name of ['old', 'young', dead, reused, earlierBoot, elsewhere, mine])
      writeFileSync(path.join(directory, 'tmp', name), '');
    utimesSync(path.join(directory, 'tmp', 'old'), 0, Date.now() / 1000 - 25 * 3600);
    await openStore({ directory });
    expect(readdirSync(path.join(directory, 'tmp')).sort()).toEqual([elsewhere, mine, 'young'].sort());
  });

  it('is in XDG_CACHE_HOME when that is absolute, else in ~/.cache', () => {
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: '/c' }, '/home/p')).toBe('/c/airbundle');
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: 'c' }, '/home/p')).toBe('/home/p/.cache/airbundle');
    expect(defaultCacheDirectory({}, '/home/p')).toBe('/home/p/.cache/airbundle');
  });
});
