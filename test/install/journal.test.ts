import { describe, expect, it } from 'vitest';
import { openJournal } from '../../src/install/journal.js';
import { together } from '../../src/install/package-changes.js';
import { hasUnsettled, readUnsettled, unsettled } from '../../src/install/unsettled.js';
import { target } from '../../src/model/layout.js';
import { rootedHost } from '../host/rooted.js';

const line = (fields: Record<string, unknown>): string => `${JSON.stringify({ run: 'r', ...fields })}\n`;
const displaced = (path: string, backup: string | null = null): string =>
  line({ event: 'displaced', path, backup, link: null, mode: 420, uid: 0, gid: 0 });
const begun = line({
  event: 'step-start',
  step: 'rpms',
  data: { added: ['a-1-1.x86_64', 'b-1-1.x86_64'], replaced: [] },
});

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
      line({ event: 'step-start', step: 'rpms', data: { added: ['b-1-1.x86_64'], replaced: [] } }) +
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

describe('what a run that goes on takes over', () => {
  const done = line({ event: 'step-done', step: 'rpms' });
  const undone = line({ event: 'undone', step: 'x', problems: [] });
  const begin = (digest: string): string =>
    line({
      event: 'begin',
      kind: 'install',
      digest,
      bundle: 'b 1',
      node: null,
      siteDigest: 's',
      flags: ['--take-over'],
      units: [],
    });

  it('is how the unfinished run was begun, until it was undone or committed', () => {
    expect(unsettled(begin('d')).begun).toEqual({
      run: 'r',
      kind: 'install',
      digest: 'd',
      bundle: 'b 1',
      node: null,
      siteDigest: 's',
      flags: ['--take-over'],
    });
    expect(unsettled(begin('d') + undone).begun).toBeUndefined();
    expect(unsettled(begin('d') + line({ event: 'commit', digest: 'd' })).begun).toBeUndefined();
    expect(unsettled(begin('d') + line({ event: 'undone', step: 'x', problems: ['p'] })).begun).toBeDefined();
  });

  it('is the packages that were added although their step is done, also by a run that was undone', () => {
    const open = unsettled(begin('d') + begun + done + undone);
    expect([open.packages.size, open.packageChanges.added, hasUnsettled(open)]).toEqual([
      0,
      ['a-1-1.x86_64', 'b-1-1.x86_64'],
      true,
    ]);
    expect(hasUnsettled(unsettled(begin('d') + begun + line({ event: 'taken-back', digest: null })))).toBe(
      false,
    );
  });

  it('is the accounts that were made', () => {
    const account = { name: 'hello', ownGroup: true };
    const made = line({ event: 'step-start', step: 'users', data: [account, { name: 7 }] });
    expect(unsettled(begin('d') + made + undone).accounts).toEqual([account]);
  });

  it('is what the last of them put at a path', () => {
    const placed = line({ event: 'placed', path: '/a', after: { sha256: 'x', link: null } });
    expect(unsettled(displaced('/a') + placed).displaced[0]?.after).toEqual({ sha256: 'x', link: null });
  });

  it('is nothing of a run that the receipt names: only its last line was cut off', () => {
    const text = begin('d') + begun + done + displaced('/a');
    expect(hasUnsettled(unsettled(text, 'r'))).toBe(false);
    expect(unsettled(text, 'r').displaced).toEqual([]);
    expect(hasUnsettled(unsettled(text, 'another'))).toBe(true);
  });
});

describe('what two runs did to the packages', () => {
  const changes = (added: string[], ...replaced: [string, string][]) => ({
    added,
    replaced: replaced.map(([from, to]) => ({ from, to })),
  });

  it.each([
    ['both added', changes(['a-1']), changes(['b-1']), changes(['a-1', 'b-1'])],
    ['installed again', changes(['a-1']), changes(['a-1']), changes(['a-1'])],
    ['added, then replaced', changes(['a-1']), changes([], ['a-1', 'a-2']), changes(['a-2'])],
    ['replaced twice', changes([], ['a-1', 'a-2']), changes([], ['a-2', 'a-3']), changes([], ['a-1', 'a-3'])],
    ['replaced, then again', changes([], ['a-1', 'a-2']), changes(['a-2']), changes([], ['a-1', 'a-2'])],
    ['the same twice', changes([], ['a-1', 'a-2']), changes([], ['a-1', 'a-2']), changes([], ['a-1', 'a-2'])],
  ])('%s', (_, first, second, both) => {
    expect(together(first, second)).toEqual(both);
  });
});

describe('the journal', () => {
  it('does not glue its first line to the half line of a killed run', async () => {
    const host = rootedHost();
    host.put(target.journal, '{"event":"step-st');
    await openJournal(host, 'r').record({
      event: 'step-start',
      step: 'rpms',
      data: { added: ['a-1-1.x86_64'], replaced: [] },
    });
    expect([...(await readUnsettled(host, null)).packages]).toEqual(['a-1-1.x86_64']);
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
