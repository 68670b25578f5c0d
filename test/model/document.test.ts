import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { BundleError } from '../../src/errors.js';
import { MAX_DOCUMENT_BYTES, MAX_DOCUMENT_PARTS, readDocument } from '../../src/model/document.js';
import { strict } from '../../src/model/strict.js';

const Schema = strict({ name: z.string(), sequence: z.int(), list: z.array(z.string()).optional() });

const read = (text: string | Uint8Array): unknown =>
  readDocument(typeof text === 'string' ? Buffer.from(text) : text, 'site.yaml', Schema, 'BAD_SITE');
function failure(text: string | Uint8Array): BundleError {
  try {
    read(text);
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('a YAML document', () => {
  it('is read', () => {
    expect(read('name: a\nsequence: 1\n')).toEqual({ name: 'a', sequence: 1 });
  });

  it('with a wrong value says the place, with a caret under it', () => {
    const error = failure('name: a\nsequence: one\n');
    expect([error.exit, error.code, error.where]).toEqual([3, 'BAD_SITE', 'site.yaml:2:11']);
    expect(error.details.slice(-2)).toEqual(['2 | sequence: one', '              ^']);
  });

  it('names every problem at once, in the order of the file', () => {
    const error = failure('name: 1\nsequence: one\nlist: [2]\n');
    expect(error.message).toBe('3 problems in site.yaml');
    expect(
      error.details.filter((line) => line.startsWith('site.yaml:')).map((line) => line.split(': ')[0]),
    ).toEqual(['site.yaml:1:7', 'site.yaml:2:11', 'site.yaml:3:8']);
  });

  it('with a misspelt key asks whether another was meant', () => {
    const error = failure('name: a\nsequnce: 1\nsequence: 2\n');
    expect(error.message).toContain('"sequnce"');
    expect(error.message).toContain('sequence');
    expect(error.where).toBe('site.yaml:2:1');
  });

  it.each([
    ['nothing', '', 'the file is empty'],
    ['only a comment', '# x\n', 'the file is empty'],
    ['a doubled key', 'name: a\nname: b\nsequence: 1\n', 'unique'],
    ['a tab', 'name: a\n\tsequence: 1\n', ''],
    ['two documents', 'name: a\nsequence: 1\n---\nname: b\n', ''],
    ['an unknown tag', 'name: !!js/function a\nsequence: 1\n', ''],
    ['an open quote', 'name: "a\nsequence: 1\n', ''],
  ])('with %s is refused with a place', (_, text, words) => {
    const error = failure(text);
    expect(error.exit).toBe(3);
    expect(error.where).toMatch(/^site\.yaml:\d+:\d+$/);
    expect(error.message.toLowerCase()).toContain(words);
  });

  it('in CP949 says how to convert it', () => {
    const error = failure(Buffer.from([0x6e, 0x3a, 0x20, 0xc7, 0xd1, 0xb1, 0xdb]));
    expect(error.message).toBe('the file is not UTF-8 text');
    expect(error.hint).toContain('iconv -f CP949');
  });

  it('of 10 MB is not read, in no time', () => {
    const startMs = performance.now();
    const error = failure(Buffer.alloc(10 * MAX_DOCUMENT_BYTES, 0x61));
    expect(error.message).toContain(`at most ${MAX_DOCUMENT_BYTES}`);
    expect(performance.now() - startMs).toBeLessThan(500);
  });

  it('whose aliases multiply is refused', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level += 1)
      lines.push(
        `a${level}: &a${level} [${Array(9)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      );
    const startMs = performance.now();
    expect(failure(`${lines.join('\n')}\n`).exit).toBe(3);
    expect(performance.now() - startMs).toBeLessThan(2000);
  });

  // The parser would make text of these keys, and print a warning of its own on stderr.
  it.each([
    ['a value in braces', 'name: {{ name }}\nsequence: 1\n', 'site.yaml:1:8'],
    ['a key in braces', 'sequence: 1\n{{ name }}: a\n', 'site.yaml:2:1'],
    ['a list as a key', 'sequence: 1\n? [name]\n: a\n', 'site.yaml:2:3'],
    ['an alias as a key', 'list: &a [b]\n*a : 1\n', 'site.yaml:2:1'],
  ])('with %s is told to use quotes, and nothing else is printed', (_, text, where) => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const error = failure(text);
      expect(error.message).toBe('a key must be text: put what begins with {, [ or * in quotes');
      expect([error.exit, error.where]).toEqual([3, where]);
      expect(warned).not.toHaveBeenCalled();
    } finally {
      warned.mockRestore();
    }
  });

  // 1,500 of these ended the whole process: "FATAL ERROR: RegExpCompiler Allocation failed".
  it.each([
    ['brackets', '[', ''],
    ['braces', '{a: ', ''],
    ['lists', '- ', 'x'],
    ['keys', '? ', 'x'],
  ])('of %s in each other, too deep, is refused', (_, open, end) => {
    for (const times of [65, 1_500, 20_000]) {
      const error = failure(`name: a\nlist:\n  ${open.repeat(times)}${end}\n`);
      expect(error.message).toBe('lists and maps lie more than 64 deep in each other');
      expect([error.exit, error.where?.split(':')[1]]).toEqual([3, '3']);
    }
  });

  it('in which everything is wrong shows the first problems and counts the rest', () => {
    const error = failure(`name: a\nsequence: 1\nlist: [${'1,'.repeat(1_000)}]\n`);
    expect(error.message).toBe('1000 problems in site.yaml');
    expect(error.details.filter((line) => line.startsWith('site.yaml:'))).toHaveLength(20);
    expect(error.details.at(-1)).toBe('and 980 more');
  });

  // Closing what is open recurses in the parser, too.
  it('too deep is refused where more follows', () => {
    for (const open of ['? ', '- ', '{a: ', '['])
      expect(failure(`${open.repeat(5_000)}\nname: a\nsequence: 1\n`).message).toBe(
        'lists and maps lie more than 64 deep in each other',
      );
  });

  it.each([
    ['keys', (n: number) => `a${n}: 1\n`],
    ['aliases', (n: number) => (n === 0 ? 'a: &a 1\n' : `b${n}: *a\n`)],
    ['entries of a list', () => '- a\n'],
  ])('of too many %s is refused, in no time', (_, line) => {
    const text = Array.from({ length: MAX_DOCUMENT_PARTS + 1 }, (_, n) => line(n)).join('');
    const startMs = performance.now();
    const error = failure(text);
    expect(error.message).toBe(`more than ${MAX_DOCUMENT_PARTS} keys and values`);
    expect([error.exit, error.where]).toEqual([3, 'site.yaml:1:1']);
    expect(performance.now() - startMs).toBeLessThan(5000);
  });
});
