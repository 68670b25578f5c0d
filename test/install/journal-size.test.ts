import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { shortenJournal } from '../../src/install/journal-size.js';
import { unsettled } from '../../src/install/unsettled.js';
import { target } from '../../src/model/layout.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';

const line = (run: number, fields: Record<string, unknown>): string =>
  `${JSON.stringify({ time: '2026-01-01T00:00:00.000Z', run: `r${String(run)}`, ...fields })}\n`;
const displaced = (run: number): string =>
  line(run, {
    event: 'displaced',
    path: `/p${String(run)}`,
    backup: null,
    link: null,
    mode: 0,
    uid: 0,
    gid: 0,
  });
const run = (
  number: number,
  last: Record<string, unknown>,
  nevra = `a${String(number)}-1-1.noarch`,
): string =>
  [
    line(number, { event: 'begin', digest: 'd', bundle: 'b 1', node: null, units: [] }),
    line(number, { event: 'step-start', step: 'rpms', data: { added: [nevra], replaced: [] } }),
    line(number, { event: last['event'] === 'commit' ? 'step-done' : 'step-failed', step: 'rpms' }),
    displaced(number),
    line(number, last),
  ].join('');
const COMMIT = { event: 'commit', digest: 'd' };
const runs = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => run(from + index, COMMIT)).join('');

const shortened = async (text: string, maxBytes: number): Promise<string> => {
  const host: Rooted = rootedHost();
  host.put(target.journal, text);
  await shortenJournal(host, (all) => unsettled(all), maxBytes);
  const now = readFileSync(path.join(host.root, target.journal), 'utf8');
  expect(unsettled(now)).toEqual(unsettled(text));
  return now;
};

describe('a journal that has grown long', () => {
  it('keeps its last runs, whole', async () => {
    const now = await shortened(runs(1, 100), 20_000);
    expect(now.length).toBeLessThanOrEqual(10_000);
    expect(now).toMatch(/^\{"time":"[^"]*","run":"r\d+","event":"begin"/);
    expect(now).toContain('"run":"r100"');
    expect(runs(1, 100).endsWith(now)).toBe(true);
  });

  it('is left alone while it is short', async () => {
    expect(await shortened(runs(1, 10), 20_000)).toBe(runs(1, 10));
  });

  it('keeps a package that an old run left open', async () => {
    const text = run(1, { event: 'undone', step: 'rpms', problems: [] }, 'old-1-1.noarch') + runs(2, 100);
    const now = await shortened(text, 20_000);
    expect([...unsettled(now).packages]).toEqual(['old-1-1.noarch']);
    expect(now.length).toBeLessThan(text.length);
  });

  it('keeps everything of runs that were neither committed nor undone', async () => {
    const killed = run(1, { event: 'step-start', step: 'files' });
    const text = killed + Array.from({ length: 40 }, (_, index) => run(index + 2, { event: 'end' })).join('');
    expect(await shortened(text, 2000)).toBe(text);
  });
});
