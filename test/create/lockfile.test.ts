import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockPathOf, readLock, requireLockFits, writeLock } from '../../src/create/lockfile.js';
import type { BundleError } from '../../src/errors.js';
import type { Lock } from '../../src/model/lock.js';
import { requestOf } from '../../src/model/lock.js';
import { parseManifest } from '../../src/model/manifest.js';
import { failureOf, sha256Of, temporaryFolder } from './create-support.js';
import { manifestText } from './create-manifest.js';

const manifest = parseManifest(Buffer.from(manifestText()), 'thing.yaml');
const lock: Lock = {
  airbundleLock: 1,
  requested: requestOf(manifest),
  rpms: [],
  sources: [
    {
      component: 'thing',
      url: './upstream',
      ref: 'v1.0',
      commit: 'a'.repeat(40) as never,
      tree: 'b'.repeat(40) as never,
      sha256: sha256Of(''),
      sizeBytes: 0,
    },
  ],
  runtime: { origin: 'http://127.0.0.1:9/node', version: '16.20.2', sha256: sha256Of('node'), sizeBytes: 4 },
};

describe('the lock', () => {
  it('stands beside its manifest', () => {
    expect(lockPathOf('manifests/tts-ha.yaml')).toBe('manifests/tts-ha.lock.json');
    expect(lockPathOf('tts-ha.yml')).toBe('tts-ha.lock.json');
  });

  it('is written whole and read back the same', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'thing.lock.json');
    expect(await readLock(file)).toBeUndefined();
    await writeLock(file, lock);
    expect(await readLock(file)).toEqual(lock);
    await writeLock(file, { ...lock, rpms: [] });
    expect(readdirSync(folder)).toEqual(['thing.lock.json']);
  });

  it('is refused when it is no lock, and when it cannot be written', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'thing.lock.json');
    writeFileSync(file, '{"airbundleLock":1}');
    expect((await failureOf(readLock(file))).exit).toBe(3);
    expect((await failureOf(writeLock(path.join(folder, 'none', 'x'), lock))).exit).toBe(6);
  });

  it('names every difference from a manifest that has changed', () => {
    expect(() => {
      requireLockFits(manifest, lock, 'thing.lock.json', 'thing.yaml');
    }).not.toThrow();
    const changed = parseManifest(
      Buffer.from(manifestText({ ref: 'v1.1', packages: ['gcc', 'make'], commit: 'c'.repeat(40) })),
      'thing.yaml',
    );
    try {
      requireLockFits(changed, lock, 'thing.lock.json', 'thing.yaml');
      expect.unreachable();
    } catch (error) {
      const failure = error as BundleError;
      expect([failure.exit, failure.code, failure.where]).toEqual([3, 'LOCK_OUT_OF_DATE', 'thing.lock.json']);
      expect(failure.details).toEqual([
        'packages: locked "openssl-devel zlib-devel", the manifest says "gcc make"',
        'thing: source: ref: locked "v1.0", the manifest says "v1.1"',
        `thing: source: commit: locked "${'a'.repeat(40)}", the manifest says "${'c'.repeat(40)}"`,
      ]);
    }
  });
});
