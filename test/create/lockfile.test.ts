import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockChanges, planLock } from '../../src/create/lock-plan.js';
import { lockPathOf, readLock, writeLock } from '../../src/create/lockfile.js';
import { owner } from '../../src/create/owner.js';
import type { Lock, LockedRpm, LockedSource } from '../../src/model/lock.js';
import { parseLock, requestOf } from '../../src/model/lock.js';
import { parseManifest } from '../../src/model/manifest.js';
import { plain } from '../../src/model/plain.js';
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
  runtime: {
    origin: 'http://127.0.0.1:9/node',
    version: '16.20.2',
    pinned: sha256Of('node'),
    path: '',
    sha256: sha256Of('node'),
    sizeBytes: 4,
  },
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

  it('removes the temporary file of a killed run, and not that of a living one or of an editor', async () => {
    const folder = temporaryFolder();
    const [machine, boot] = owner.split('-');
    const dead = `.thing.lock.json.${machine ?? ''}-${boot ?? ''}-999999999-1.abcdef`;
    const others = [`.thing.lock.json.${owner}.abcdef`, '.thing.lock.json.swp'];
    for (const name of [dead, ...others]) {
      writeFileSync(path.join(folder, name), '');
      utimesSync(path.join(folder, name), 0, 0);
    }
    await writeLock(path.join(folder, 'thing.lock.json'), lock);
    expect(readdirSync(folder).sort()).toEqual([...others, 'thing.lock.json'].sort());
  });
});

describe('what a lock says', () => {
  it('reaches no terminal as more than text, whoever has written it', async () => {
    const [source] = lock.sources;
    if (source === undefined) throw new Error('no source is locked');
    const written: Lock = {
      ...lock,
      requested: { ...lock.requested, target: 'el7\u001b[2J' },
      sources: [{ ...source, ref: 'v1\u001b]0;x\u0007', url: './up\u202e' }],
      runtime: { ...lock.runtime, version: '1\u001b[8m', origin: 'x\n  RPM gone' },
    };
    const lines = [...lockChanges(written, lock), ...planLock(manifest, written).differences];
    expect(lines.length).toBeGreaterThan(5);
    for (const text of ['{"a\u001b[2J": 1}', '{"\\u001b[2J": 1}', '\u001b[2J']) {
      const error = await failureOf(Promise.resolve().then(() => parseLock(text, 'it.lock.json')));
      lines.push(error.message, ...error.details);
    }
    expect(lines.filter((line) => plain(line) !== line)).toEqual([]);
  });
});

describe('what stays of a lock', () => {
  const edited = (parts: Parameters<typeof manifestText>[0]): typeof manifest =>
    parseManifest(Buffer.from(manifestText(parts)), 'thing.yaml');
  const rpm = (name: string, sha256: string): LockedRpm => ({
    nevra: { name, epoch: 0, version: '1', release: '1.el7', arch: 'x86_64' },
    sha256: sha256Of(sha256),
    sizeBytes: 1,
    signer: 'A'.repeat(40),
    licence: 'MIT',
    summary: '',
    sourceRpm: '',
    repository: 'os',
    path: '',
  });
  const full: Lock = { ...lock, rpms: [rpm('openssl-devel', 'a'), rpm('zlib-devel', 'b'), rpm('zlib', 'c')] };

  it('is all of it while the manifest is the same', () => {
    expect(planLock(manifest, full)).toEqual({
      rpms: { exact: true, pins: full.rpms },
      sources: full.sources,
      runtime: full.runtime,
      differences: [],
    });
  });

  it('is what a change does not touch, and every difference is named', () => {
    const plan = planLock(
      edited({ ref: 'v1.1', packages: ['zlib-devel', 'make'], commit: 'c'.repeat(40) }),
      full,
    );
    expect(plan).toEqual({
      rpms: { exact: false, pins: full.rpms },
      sources: [],
      runtime: full.runtime,
      differences: [
        'package make: only in the manifest',
        'package openssl-devel: only in the lock',
        'thing: source: ref: locked "v1.0", the manifest says "v1.1"',
        `thing: source: commit: locked "${'a'.repeat(40)}", the manifest says "${'c'.repeat(40)}"`,
      ],
    });
  });

  it("is everything but a removed component's source", () => {
    const other = { ...(full.sources[0] as LockedSource), component: 'other' as never };
    const plan = planLock(manifest, { ...full, sources: [...full.sources, other] });
    expect(plan.sources).toEqual(full.sources);
    expect(plan.rpms.exact).toBe(true);
    expect(plan.differences).toEqual(['other: only in the lock']);
  });

  it('does not hold a runtime with another integrity or path under the same version', () => {
    for (const [changed, word] of [
      [{ pinned: sha256Of('other') }, 'runtime: sha256'],
      [{ path: 'bin/node' }, 'runtime: path'],
    ] as const) {
      const plan = planLock(manifest, { ...full, runtime: { ...full.runtime, ...changed } });
      expect(plan.runtime).toBeUndefined();
      expect(plan.differences.join()).toContain(word);
    }
  });

  it('is less when a component, or everything, is to be renewed', () => {
    const one = planLock(manifest, full, ['thing']);
    expect([one.sources, one.rpms]).toEqual([[], { exact: false, pins: [rpm('zlib', 'c')] }]);
    expect(one.runtime).toEqual(full.runtime);
    expect(planLock(manifest, full, 'all')).toMatchObject({
      rpms: { exact: false, pins: [] },
      sources: [],
      runtime: undefined,
    });
  });

  it('is told as changes, one line for each', () => {
    const after = { ...full, rpms: [rpm('zlib-devel', 'new'), rpm('zlib', 'c'), rpm('make', 'd')] };
    expect(lockChanges(undefined, after)).toEqual([]);
    expect(lockChanges(full, after)).toEqual([
      `RPM make.x86_64: added make-1-1.el7.x86_64 ${sha256Of('d')}`,
      'RPM openssl-devel.x86_64: removed',
      `RPM zlib-devel.x86_64: zlib-devel-1-1.el7.x86_64 ${sha256Of('b')} → zlib-devel-1-1.el7.x86_64 ${sha256Of('new')}`,
    ]);
  });
});
