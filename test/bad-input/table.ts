import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect } from 'vitest';
import { ROOT } from '../lab/paths.js';

/*
 * docs/reference/bad-input.md: what each bad input gets. The rows come from tests that type the command:
 * `BAD_INPUT=write npx vitest run test/bad-input` writes them, every other run compares.
 */
const PAGE = path.join(ROOT, 'docs/reference/bad-input.md');

/** What a command did with a bad input. */
export interface Answer {
  /** Exit code of the command. */
  readonly exit: number | null;
  readonly stderr: string;
}

export interface BadInputTable {
  /**
   * Takes one row: the error must be of the form of docs/reference/errors.md (code, place or details, next step),
   * and the row must stand in the page. `masked` turns what differs from run to run into words: [found, word].
   */
  row(what: string, answer: Answer, masked?: readonly (readonly [string | RegExp, string])[]): void;
  /** A row that cannot be tried on this machine (the test skips itself): it stays as the page has it. */
  untried(what: string): void;
  /** For the last test of the file: the page has no row that no test has made. */
  complete(): void;
}

/** The table of one test file: a section of the page between `<!-- NAME -->` and `<!-- /NAME -->`. */
export function badInputTable(section: string): BadInputTable {
  const rows = new Map<string, string>();
  const writing = process.env['BAD_INPUT'] === 'write';
  const page = readFileSync(PAGE, 'utf8');
  const [open, close] = [`<!-- ${section} -->\n`, `<!-- /${section} -->`];
  const from = page.indexOf(open);
  const to = page.indexOf(close);
  if (from < 0 || to < from) throw new Error(`${PAGE} has no section ${section}`);
  const kept = page.slice(from + open.length, to);
  const keptRows = kept.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| ---'));

  afterAll(() => {
    if (!writing) return;
    const table = ['| input | exit | answer |', '| --- | --- | --- |', ...rows.values()].join('\n');
    const now = readFileSync(PAGE, 'utf8');
    const start = now.indexOf(open) + open.length;
    writeFileSync(PAGE, `${now.slice(0, start)}\n${table}\n\n${now.slice(now.indexOf(close))}`);
  });

  return {
    row(what, answer, masked = []) {
      expect(rows.has(what), `two rows are called "${what}"`).toBe(false);
      const found = /^error\[([A-Z_]+)\]: (.*)$/m.exec(answer.stderr);
      expect(found, `no error line in: ${answer.stderr}`).not.toBeNull();
      const code = found?.[1] ?? '';
      expect(code, answer.stderr).not.toBe('INTERNAL');
      expect(answer.stderr, 'what to do next').toMatch(/^ {2}next: \S/m);
      let message = found?.[2] ?? '';
      for (const [text, word] of masked) message = message.replaceAll(text, word);
      const line = `| ${cell(what)} | ${String(answer.exit)} | \`${code}\` ${cell(message)} |`;
      rows.set(what, line);
      if (!writing) expect(keptRows, 'BAD_INPUT=write writes the page again').toContain(line);
    },
    untried(what) {
      const line = keptRows.find((one) => one.startsWith(`| ${cell(what)} |`));
      if (line !== undefined) rows.set(what, line);
    },
    complete() {
      if (!writing) expect(keptRows.slice(1)).toEqual([...rows.values()]);
    },
  };
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
