import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import type { AddRequest, TrustRequest, TrustResult } from '../../src/install/trust-change.js';
import { addKey, removeKey, requireThreshold } from '../../src/install/trust-change.js';
import { trustStore } from '../../src/install/trust.js';
import { target } from '../../src/model/layout.js';
import { formatFingerprint } from '../../src/model/signature.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import type { TestKey } from './bundle.js';
import { makeKey } from './bundle.js';

const anna = makeKey();
const boris = makeKey();
const clara = makeKey();
const NOW = new Date('2026-11-22T10:00:00.123Z');
const yes: TrustRequest = { runId: 'run1', dryRun: false, confirm: async () => true };

let host: Rooted;
beforeEach(() => {
  host = rootedHost();
  for (const key of [anna, boris, clara]) host.put(`/root/${key.keyId}.pub.pem`, key.pem);
  host.put(`${target.trust}/${anna.keyId}.pem`, anna.pem);
});

const add = (key: TestKey, given: Partial<AddRequest> = {}): Promise<TrustResult> =>
  addKey(host, {
    ...yes,
    file: `/root/${key.keyId}.pub.pem`,
    fingerprint: key.fingerprint,
    again: false,
    ...given,
  });
const remove = (keyId: string, given: Partial<TrustRequest> = {}): Promise<TrustResult> =>
  removeKey(host, { ...yes, keyId, date: () => NOW, ...given });
const require = (threshold: number, given: Partial<TrustRequest> = {}): Promise<TrustResult> =>
  requireThreshold(host, { ...yes, threshold, ...given });
const files = (): string[] =>
  readdirSync(path.join(host.root, '/etc'), { recursive: true, encoding: 'utf8' }).sort();
const text = (at: string): string => readFileSync(path.join(host.root, at), 'utf8');
const failure = async (work: Promise<unknown>): Promise<BundleError> => {
  const before = files();
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof BundleError)) throw error;
  expect(files()).toEqual(before);
  expect(error.hint).toEqual(expect.any(String));
  return error;
};
const idsOf = async (): Promise<string[]> =>
  (await trustStore(host)).trusted.map(({ keyId }) => keyId).sort();

describe('trust add', () => {
  it('trusts the key and says what is different, with the fingerprint as a person compares it', async () => {
    const { outcome, changes, store } = await add(boris);
    expect(outcome).toBe('changed');
    expect(changes).toEqual([
      `trust the key ${boris.keyId}: ${formatFingerprint(boris.fingerprint)}`,
      '1 of 2 trusted keys must sign a release',
    ]);
    expect(store?.trusted).toHaveLength(2);
    expect(text(`${target.trust}/${boris.keyId}.pem`)).toBe(boris.pem);
  });

  it('changes nothing the second time, and nothing when the answer is no or for --dry-run', async () => {
    expect((await add(boris, { confirm: async () => false })).outcome).toBe('declined');
    expect((await add(boris, { dryRun: true })).outcome).toBe('planned');
    expect(await idsOf()).toEqual([anna.keyId]);
    await add(boris);
    const again = await add(boris, { confirm: () => Promise.reject(new Error('asked')) });
    expect([again.outcome, again.changes]).toEqual(['unchanged', []]);
  });

  it('asks for the fingerprint although everything else is confirmed', async () => {
    for (const [fingerprint, code, exit] of [
      [undefined, 'NO_FINGERPRINT', 2],
      [boris.keyId, 'NO_FINGERPRINT', 2],
      [clara.fingerprint, 'WRONG_FINGERPRINT', 4],
    ] as const)
      expect(await failure(add(boris, { fingerprint }))).toMatchObject({ code, exit });
  });

  it('refuses what is no key, or more than one', async () => {
    expect((await failure(add(boris, { file: '/root/none.pem' }))).code).toBe('NO_KEY');
    host.put('/root/two.pem', boris.pem + clara.pem);
    expect((await failure(add(boris, { file: '/root/two.pem' }))).code).toBe('BAD_PUBLIC_KEY');
  });

  it('refuses a key that was removed here, unless it is added again on purpose', async () => {
    await add(boris);
    await remove(anna.keyId);
    const refused = await failure(add(anna));
    expect([refused.code, refused.exit]).toEqual(['KEY_REMOVED', 5]);
    expect(refused.message).toContain('2026-11-22T10:00:00Z');
    const { changes } = await add(anna, { again: true });
    expect(changes[0]).toContain('again, which was removed here');
    expect(await idsOf()).toEqual([anna.keyId, boris.keyId].sort());
    expect(existsSync(path.join(host.root, target.removedKeys, `${anna.keyId}.pem`))).toBe(false);
  });

  it('waits for nobody: another one at work is named', async () => {
    const lock = await host.lock(target.lock);
    expect(await failure(add(boris))).toMatchObject({ code: 'BUSY', exit: 5 });
    expect(await failure(remove(anna.keyId))).toMatchObject({ code: 'BUSY', exit: 5 });
    expect(await failure(require(1))).toMatchObject({ code: 'BUSY', exit: 5 });
    await lock?.release();
  });

  it('adds nothing to a store that others can write', async () => {
    chmodSync(path.join(host.root, target.trust), 0o777);
    expect(await failure(add(boris))).toMatchObject({ code: 'BAD_TRUST', exit: 5 });
  });
});

describe('trust remove', () => {
  beforeEach(() => add(boris));

  it('takes the beginning of an id, remembers the key and the day, and does it once', async () => {
    const { outcome, changes } = await remove(anna.keyId.slice(0, 8));
    expect([outcome, changes[0]]).toEqual([
      'changed',
      `trust the key ${anna.keyId} no more: ${formatFingerprint(anna.fingerprint)}`,
    ]);
    expect(await idsOf()).toEqual([boris.keyId]);
    expect(text(`${target.removedKeys}/${anna.keyId}.pem`)).toBe(
      `# removed here 2026-11-22T10:00:00Z\n${anna.pem}`,
    );
    expect((await trustStore(host)).removed[0]?.since).toBe('2026-11-22T10:00:00Z');
    expect((await remove(anna.keyId)).outcome).toBe('unchanged');
  });

  it('takes every file of the key away', async () => {
    host.put(`${target.trust}/0-again.pem`, anna.pem);
    await remove(anna.keyId);
    expect(
      files()
        .filter((name) => name.endsWith('.pem'))
        .sort(),
    ).toEqual([`airbundle/trust/${boris.keyId}.pem`, `airbundle/trust/removed/${anna.keyId}.pem`].sort());
  });

  it.each([
    ['seven digits', anna.keyId.slice(0, 7)],
    ['no digits', 'packager!'],
    ['an id that is not there', clara.keyId],
  ])('does not guess from %s', async (_, given) => {
    const refused = await failure(remove(given));
    expect([refused.code, refused.exit]).toEqual(['NO_SUCH_KEY', 2]);
    expect([...refused.details].sort()).toEqual([anna.keyId, boris.keyId].sort());
  });

  it('keeps the last key, and as many as must sign', async () => {
    await remove(boris.keyId);
    expect(await failure(remove(anna.keyId))).toMatchObject({ code: 'LAST_KEY', exit: 5 });
    await add(boris, { again: true });
    await require(2);
    const refused = await failure(remove(anna.keyId));
    expect([refused.code, refused.exit]).toEqual(['TOO_FEW_KEYS', 5]);
    expect(refused.hint).toContain('airbundle trust require 1');
  });

  it('that was killed after it remembered the key goes on', async () => {
    host.put(`${target.removedKeys}/${anna.keyId}.pem`, `# removed here 2026-11-22T10:00:00Z\n${anna.pem}`);
    expect(await idsOf()).toEqual([boris.keyId]);
    expect((await remove(anna.keyId)).outcome).toBe('changed');
    expect(existsSync(path.join(host.root, target.trust, `${anna.keyId}.pem`))).toBe(false);
  });

  it('says what the system says when the disk is full, and the key still counts', async () => {
    const full = rootedHost({ fail: (call) => (call === 'writeDurable' ? 'ENOSPC' : undefined) });
    for (const key of [anna, boris]) full.put(`${target.trust}/${key.keyId}.pem`, key.pem);
    await expect(removeKey(full, { ...yes, keyId: anna.keyId, date: () => NOW })).rejects.toMatchObject({
      code: 'NO_ROOM',
      exit: 6,
    });
    expect((await trustStore(full)).trusted).toHaveLength(2);
  });
});

describe('trust require', () => {
  beforeEach(() => add(boris));

  it('sets how many must sign, once', async () => {
    const { outcome, changes } = await require(2);
    expect([outcome, changes]).toEqual(['changed', ['2 of 2 trusted keys must sign a release (before: 1)']]);
    expect(text(target.threshold)).toBe('2\n');
    expect((await require(2)).outcome).toBe('unchanged');
    expect((await require(1)).store?.threshold).toBe(1);
  });

  it('does not ask for more signers than there are', async () => {
    expect(await failure(require(3))).toMatchObject({ code: 'TOO_FEW_KEYS', exit: 5 });
  });

  it.each(['none', '', '9'.repeat(100)])('mends a threshold that is none: %j', async (given) => {
    host.put(target.threshold, given);
    expect(await failure(add(clara))).toMatchObject({ code: 'BAD_THRESHOLD', exit: 5 });
    expect((await require(2, { dryRun: true })).outcome).toBe('planned');
    const { changes, store } = await require(2);
    expect([changes[0], store?.threshold]).toEqual([
      '2 of 2 trusted keys must sign a release (before: nothing that could be read)',
      2,
    ]);
  });
});
