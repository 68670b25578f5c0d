import { describe, expect, it } from 'vitest';
import { caseOf, parseBroken } from '../faults/broken.js';
import { documentDifferences } from '../faults/documents.js';
import { parseDone, parsePart, partOf, undone } from '../faults/options.js';
import { scenesOf } from '../faults/scenes.js';
import type { MadeBundle } from '../install/bundle.js';

const bundle = (stem: string): MadeBundle => ({ stem, folder: '', contents: {} as MadeBundle['contents'] });
const scenes = scenesOf({ old: bundle('mini-1'), new: bundle('mini-2') }, 'F');

describe('a case of the fault campaign', () => {
  it('is named in the words that bring it back', () => {
    const text = 'fresh,kill:173:power,torn:67';
    const { id, from, command, then, end, faults } = caseOf(parseBroken(text), scenes);
    expect([id, from, end]).toEqual([text, 'fresh', 'fresh-end']);
    expect(command).toContain('cd /media/usb/mini-2 && sh install.sh --key');
    expect(then).toBe(command);
    expect(faults).toEqual([
      { shim: { FAULT_AT: '173', FAULT_KIND: 'kill' }, everything: true },
      { shim: { FAULT_AT: '67', FAULT_KIND: 'torn' }, everything: false },
    ]);
    expect(caseOf(parseBroken('old,moment:90'), scenes).faults).toEqual([
      { killAfterMs: 90, everything: true },
    ]);
  });

  it('is taken back where its scene says so', () => {
    const { from, command, then, end } = caseOf(parseBroken('old-back,kill:9'), scenes);
    expect([from, end]).toEqual(['old', 'old']);
    expect(command).toContain('cd /media/usb/mini-2 && sh install.sh --site');
    expect(then).toContain('airbundle rollback --to ');
  });

  it.each(['', 'fresh', 'new,kill:1', 'fresh,kill:0', 'fresh,kill:1:slow', 'fresh,moment:5:power'])(
    'is not %j',
    (text) => {
      expect(() => parseBroken(text)).toThrow(/is no case|is none of/);
    },
  );

  it('is in one part, and in no other', () => {
    const all = Array.from({ length: 10 }, (_, index) => index);
    const parts = ['1/3', '2/3', '3/3'].map((text) => partOf(all, parsePart(text)));
    expect(parts.flat().sort((one, other) => one - other)).toEqual(all);
    for (const text of ['0/3', '4/3', '3', 'a/b']) expect(() => parsePart(text)).toThrow('is no part');
  });

  it('is behind those that an earlier run did of the same cases, and of no others', () => {
    const groups = ['kills', 'undo-kills'];
    const done = parseDone('kills=3/5,undo-kills=0/2', groups);
    expect([...done.keys()]).toEqual(groups);
    expect(undone(['a', 'b', 'c', 'd', 'e'], done.get('kills'))).toEqual(['d', 'e']);
    expect(undone(['a', 'b'], done.get('undo-kills'))).toEqual(['a', 'b']);
    expect(undone(['a', 'b'], undefined)).toEqual(['a', 'b']);
    expect(() => undone(['a', 'b', 'c', 'd'], done.get('kills'))).toThrow('5 cases were planned');
    for (const text of ['kills', 'kills=3', 'kills=-1/5', 'kills=1.5/5', 'real=3/30', ''])
      expect(() => parseDone(text, groups)).toThrow('groups that go on: kills, undo-kills');
  });
});

describe('two documents', () => {
  const differences = (before: unknown, after: unknown): string[] =>
    documentDifferences([['d.json', JSON.stringify(before)]], [['d.json', JSON.stringify(after)]]);

  it('that are the same differ nowhere', () => {
    expect(differences({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toEqual([]);
  });
  it('are told apart by the path inside and both values', () => {
    const before = { accounts: [{ name: 'mini' }], run: 'RUN' };
    expect(differences(before, { accounts: [{ name: 'mini' }, { name: 'mini' }], run: 'RUN' })).toContain(
      'in d.json: accounts[1]: nothing → {"name":"mini"}',
    );
    expect(differences({ a: { b: 'x' } }, { a: { b: 'y' } })).toEqual(['in d.json: a.b: "x" → "y"']);
  });
  it('with the same members in another order are not the same', () => {
    expect(differences({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual([
      'in d.json: the whole: its members are others',
    ]);
  });
});
