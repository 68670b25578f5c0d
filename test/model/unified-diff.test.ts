import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { unifiedDiff } from '../../src/model/unified-diff.js';

const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-diff-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What `patch` makes of the old text with the lines of the difference. */
function patched(before: string, lines: readonly string[]): string {
  const old = path.join(folder, 'old');
  writeFileSync(old, before);
  const done = spawnSync('patch', ['--quiet', '--output=-', old], {
    input: ['--- old', '+++ new', ...lines, ''].join('\n'),
    encoding: 'utf8',
  });
  expect(done.stderr).toBe('');
  return done.stdout;
}

/** The lines that `diff -u` shows, without its heads. */
function gnu(before: string, after: string): string[] {
  for (const [name, text] of [
    ['a', before],
    ['b', after],
  ] as const)
    writeFileSync(path.join(folder, name), text);
  const done = spawnSync('diff', ['-u', 'a', 'b'], { cwd: folder, encoding: 'utf8' });
  return done.stdout.split('\n').slice(2, -1);
}

const text = fc
  .array(fc.constantFrom('global', '    maxconn 4096', '', 'defaults', '}'), { maxLength: 40 })
  .map((lines) => lines.map((line) => `${line}\n`).join(''));

describe('a unified difference', () => {
  it('is empty for the same text', () => {
    expect(unifiedDiff('a\nb\n', 'a\nb\n')).toEqual([]);
    expect(unifiedDiff('', '')).toEqual([]);
  });

  it('is what GNU diff shows for a changed line, for a new file and for two places far apart', () => {
    const many = Array.from({ length: 30 }, (_, index) => `line ${String(index)}\n`);
    const changed = many.map((line, index) => (index === 3 || index === 25 ? `new ${line}` : line));
    for (const [before, after] of [
      ['a\nb\nc\n', 'a\nB\nc\n'],
      ['', 'a\nb\n'],
      ['a\nb\n', ''],
      [many.join(''), changed.join('')],
    ] as const)
      expect(unifiedDiff(before, after)).toEqual(gnu(before, after));
  });

  it('says when a last line has no end', () => {
    expect(unifiedDiff('a', 'a\n')).toEqual(['@@ -1 +1 @@', '-a (no line end)', '+a']);
  });

  it('turns the one text into the other, by patch, with no more edits than GNU diff', () => {
    const edits = (lines: readonly string[]): number => lines.filter((line) => /^[-+]/.test(line)).length;
    fc.assert(
      fc.property(text, text, (before, after) => {
        const lines = unifiedDiff(before, after);
        if (before !== after && before !== '' && after !== '') expect(patched(before, lines)).toBe(after);
        expect(edits(lines)).toBeLessThanOrEqual(edits(gnu(before, after)));
      }),
      { numRuns: 60 },
    );
  });

  it('of two texts with nothing in common is one replaced by the other, at once', () => {
    const lines = (word: string): string =>
      Array.from({ length: 5000 }, (_, index) => `${word} ${String(index)}\n`).join('');
    const shown = unifiedDiff(lines('old'), lines('new'));
    expect(shown[0]).toBe('@@ -1,5000 +1,5000 @@');
    expect(shown).toHaveLength(10_001);
  });
});
