import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { raiseFloor, readFloor } from '../../src/install/floor.js';
import type { Receipt } from '../../src/install/receipt.js';
import { clockWarning } from '../../src/install/trust.js';
import { target } from '../../src/model/layout.js';
import { rootedHost } from '../host/rooted.js';
import { sha256Of } from './bundle.js';

const digest = sha256Of('a release');
const receipt = {
  digest,
  committedAt: '2026-11-22T10:00:00.000Z',
  contents: { name: 'small', version: '1.0.2', sequence: 5 },
} as Receipt;

describe('the sequence floor', () => {
  it('is empty on a new node, and the receipt of a node from before it existed counts', async () => {
    const host = rootedHost();
    expect([...(await readFloor(host, undefined))]).toEqual([]);
    expect([...(await readFloor(host, receipt))]).toEqual([['small', { sequence: 5, digest }]]);
  });

  it('is the higher one of file and receipt', async () => {
    const host = rootedHost();
    const stored = (sequence: number): void =>
      host.put(target.floor, JSON.stringify({ small: { sequence, digest: sha256Of('stored') } }));
    stored(4);
    expect((await readFloor(host, receipt)).get('small')).toEqual({ sequence: 5, digest });
    stored(6);
    expect((await readFloor(host, receipt)).get('small')?.sequence).toBe(6);
  });

  it('is raised and never lowered, for each product by itself, and keeps what the receipt said', async () => {
    const host = rootedHost();
    host.put(`${target.state}/x`, '');
    await raiseFloor(host, undefined, 'other', { sequence: 9, digest: sha256Of('other') });
    await raiseFloor(host, receipt, 'small', { sequence: 3, digest: sha256Of('older') });
    expect([...(await readFloor(host, undefined))]).toEqual([
      ['other', { sequence: 9, digest: sha256Of('other') }],
      ['small', { sequence: 5, digest }],
    ]);
    expect(JSON.parse(readFileSync(path.join(host.root, target.floor), 'utf8'))).toEqual({
      other: { sequence: 9, digest: sha256Of('other') },
      small: { sequence: 5, digest },
    });
  });

  it.each([
    '',
    'null',
    '[]',
    '{"small":5}',
    '{"small":{"sequence":0,"digest":"x"}}',
    `{"small":{"sequence":1.5,"digest":"${digest}"}}`,
    `{"small":{"sequence":1,"digest":"${digest}","more":1}}`,
    `{"Small Thing":{"sequence":1,"digest":"${digest}"}}`,
    `{"small":{"sequence":1,"digest":"${digest}"}`,
  ])('is refused when it is damaged: %s', async (text) => {
    const host = rootedHost();
    host.put(target.floor, text);
    for (const known of [undefined, receipt])
      await expect(readFloor(host, known)).rejects.toMatchObject({
        code: 'BAD_FLOOR',
        exit: 5,
        where: target.floor,
        hint: expect.stringContaining('restore it from a backup') as string,
      });
  });
});

describe('a clock that is wrong', () => {
  const committed = Date.parse(receipt.committedAt);
  it('is told when it is before the last installation, and only then', () => {
    expect(clockWarning(new Date(committed - 1), receipt)).toContain('before the last installation');
    expect(clockWarning(new Date(committed), receipt)).toBeUndefined();
    expect(clockWarning(new Date(committed + 1), receipt)).toBeUndefined();
    expect(clockWarning(new Date(0), undefined)).toBeUndefined();
  });
});
