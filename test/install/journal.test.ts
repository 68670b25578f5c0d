import { describe, expect, it } from 'vitest';
import { openJournal, readUnsettled, unsettled } from '../../src/install/journal.js';
import { target } from '../../src/model/layout.js';
import { rootedHost } from '../host/rooted.js';

const line = (fields: Record<string, unknown>): string => `${JSON.stringify({ run: 'r', ...fields })}\n`;
const displaced = (path: string, backup: string | null = null): string =>
  line({ event: 'displaced', path, backup, link: null, mode: 420, uid: 0, gid: 0 });
const begun = line({ event: 'step-start', step: 'rpms', data: ['a-1-1.x86_64', 'b-1-1.x86_64'] });

describe('what earlier runs left open', () => {
  it('is nothing in an empty journal and after a commit', () => {
    expect(unsettled('')).toMatchObject({ displaced: [], made: [] });
    const text =
      displaced('/a') + line({ event: 'made', path: '/d' }) + line({ event: 'commit', digest: 'x' });
    expect(unsettled(text)).toMatchObject({ displaced: [], made: [] });
  });

  it('is the packages of a step that began and did not end', () => {
    expect([...unsettled(begun).packages]).toEqual(['a-1-1.x86_64', 'b-1-1.x86_64']);
    expect([...unsettled(begun + line({ event: 'step-failed', step: 'rpms' })).packages]).toHaveLength(2);
    expect([...unsettled(begun + line({ event: 'step-done', step: 'rpms' })).packages]).toEqual([]);
  });

  it('stays open for a package that a later step did not install', () => {
    const later =
      line({ event: 'step-start', step: 'rpms', data: ['b-1-1.x86_64'] }) +
      line({ event: 'step-done', step: 'rpms' });
    expect([...unsettled(begun + later).packages]).toEqual(['a-1-1.x86_64']);
  });

  it('is each path as it was before the first of several killed runs', () => {
    const text = displaced('/a', '/b/1/a') + displaced('/a', '/b/2/a') + displaced('/c');
    expect(unsettled(text).displaced.map(({ path, backup }) => [path, backup])).toEqual([
      ['/a', '/b/1/a'],
      ['/c', null],
    ]);
    const units = (active: string): string =>
      line({ event: 'begin', units: [{ unit: 'x.service', active, enabled: 'enabled' }] });
    expect(unsettled(units('active') + units('inactive')).units.get('x.service')?.active).toBe('active');
  });

  it('is nothing when all was undone, but stays when something could not be', () => {
    expect(unsettled(displaced('/a') + line({ event: 'undone', step: 'x', problems: [] })).displaced).toEqual(
      [],
    );
    expect(
      unsettled(displaced('/a') + line({ event: 'undone', step: 'x', problems: ['/a could not'] })).displaced,
    ).toHaveLength(1);
  });

  it('is read past half lines and lines of another form', () => {
    const text = `${begun.slice(0, 20)}\n[]\nnull\n7\n{"event":"displaced","path":7}\n{"event":"begin","units":[null,{"unit":1}]}\n${begun}{"event":"step-do`;
    expect([...unsettled(text).packages]).toHaveLength(2);
    expect(unsettled(text)).toMatchObject({ displaced: [], made: [] });
  });
});

describe('the journal', () => {
  it('does not glue its first line to the half line of a killed run', async () => {
    const host = rootedHost();
    host.put(target.journal, '{"event":"step-st');
    await openJournal(host, 'r').record({ event: 'step-start', step: 'rpms', data: ['a-1-1.x86_64'] });
    expect([...(await readUnsettled(host)).packages]).toEqual(['a-1-1.x86_64']);
  });

  it('goes on after a line that could not be written, in the order of the calls', async () => {
    let full = true;
    const host = rootedHost({ fail: (call) => (call === 'appendDurable' && full ? 'ENOSPC' : undefined) });
    const journal = openJournal(host, 'r');
    await expect(journal.record({ event: 'step-done', step: 'a' })).rejects.toThrow('ENOSPC');
    full = false;
    await Promise.all(['b', 'c', 'd'].map((step) => journal.record({ event: 'step-done', step })));
    const text = (await host.read(target.journal))?.toString('utf8') ?? '';
    const steps = text
      .trim()
      .split('\n')
      .map((one) => (JSON.parse(one) as { step: string }).step);
    expect(steps).toEqual(['b', 'c', 'd']);
  });
});
