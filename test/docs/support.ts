import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

export const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** Every Markdown file that ships, as a path below the root. */
export function pages(): string[] {
  const below = readdirSync(join(ROOT, 'docs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  return ['README.md', 'README.ko.md', 'CHANGELOG.md', ...below].sort();
}

/** Builds the two programs into a folder of the test, so that it does not depend on a build made before. */
export function buildInto(folder: string): void {
  execFileSync(process.execPath, [join(ROOT, 'scripts/build.mjs'), '--outdir', folder], { stdio: 'pipe' });
}

export interface Command {
  /** As it is typed: `create`, `cache list`. */
  readonly name: string;
  /** Every option as it is typed, short and long, → whether a value follows. */
  readonly options: ReadonlyMap<string, boolean>;
  /** How many arguments must stand beside the options, and how many may. */
  readonly arguments: { readonly atLeast: number; readonly atMost: number };
  /** The text itself. */
  readonly help: string;
}

/** What a built program says that it takes, by `--help`. */
export function commandsOf(program: string): Map<string, Command> {
  const help = (words: readonly string[]): string =>
    execFileSync(process.execPath, [program, ...words, '--help'], { encoding: 'utf8' });
  const below = (words: readonly string[]): string[] => {
    const text = help(words);
    if (!text.includes('Commands:')) return [words.join(' ')];
    return [...text.slice(text.indexOf('Commands:')).matchAll(/^ {2}([a-z][a-z-]*)(?= )/gm)]
      .map((match) => match[1] ?? '')
      .filter((name) => name !== 'help')
      .flatMap((name) => below([...words, name]));
  };
  return new Map(
    below([]).map((name) => {
      const text = help(name.split(' '));
      const usage = /^Usage: .*$/m.exec(text)?.[0] ?? '';
      const options = new Map<string, boolean>();
      for (const match of text.matchAll(/^ {2}(?:(-\w), )?(--[a-z-]+)( <\S+>)?/gm))
        for (const word of [match[1], match[2]])
          if (word !== undefined) options.set(word, match[3] !== undefined);
      const atLeast = [...usage.matchAll(/<\w+>/g)].length;
      const optional = [...usage.replace('[options]', '').matchAll(/\[\w+\]/g)].length;
      const atMost = usage.includes('...]') ? Infinity : atLeast + optional;
      return [name, { name, options, arguments: { atLeast, atMost }, help: text }];
    }),
  );
}

export interface Block {
  readonly language: string;
  readonly text: string;
  /** `file:line` of its first line. */
  readonly where: string;
}

/** Fenced blocks of a page; `language` is empty where the fence names none. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  const lines = read(page).split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const language = /^```(\w*)$/.exec(lines[at] ?? '')?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`${page}:${at + 1}: the block does not end`);
    blocks.push({ language, text: lines.slice(at + 1, end).join('\n'), where: `${page}:${at + 2}` });
    at = end;
  }
  return blocks;
}

/** Shell blocks: `sh` as it is, `console` without its prompts and output. */
export function shellBlocksOf(page: string): Block[] {
  return blocksOf(page).flatMap((block) => {
    if (block.language === 'sh') return [block];
    if (block.language !== 'console') return [];
    const lines = block.text.split('\n');
    const typed = lines.filter((line, at) => /^[$#] /.test(line) || lines[at - 1]?.endsWith('\\') === true);
    return [{ ...block, text: typed.map((line) => line.replace(/^[$#] /, '')).join('\n') }];
  });
}

/** The simple commands of a block, as words: continued lines joined, comments and variables in front left out. */
export function simpleCommands(text: string): string[][] {
  return text
    .replace(/\\\n/g, ' ')
    .split(/\n|&&|\|\||;|\|/)
    .map((line) => words(line.replace(/(^|\s)#.*$/, '')))
    .map((all) =>
      all.slice(
        Math.max(
          0,
          all.findIndex((word) => !/^[A-Z_]+=/.test(word)),
        ),
      ),
    )
    .filter((all) => all.length > 0);
}

function words(line: string): string[] {
  return [...line.matchAll(/[A-Z_]+="[^"]*"|'[^']*'|"[^"]*"|[^\s'"]+/g)].map((match) =>
    match[0].replace(/^(['"])(.*)\1$/, '$2'),
  );
}
