import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { target } from '../../src/model/layout.js';
import { path as configured } from '../../src/configure/paths.js';
import { blocksOf, pages, read, ROOT } from './support.js';

interface Link {
  readonly page: string;
  readonly to: string;
}

/** Relative links outside of code. */
function links(page: string): Link[] {
  const text = read(page)
    .replace(/^```[\s\S]*?^```$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => (code.includes('](') ? '' : code));
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((to) => !/^[a-z]+:/.test(to) && !to.includes('…'))
    .map((to) => ({ page, to }));
}

/** The anchors that a forge makes of a page's headings. */
function anchors(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}

describe('the pages', () => {
  it('link only to files and headings that there are', () => {
    const broken = pages().flatMap((page) =>
      links(page).flatMap(({ to }) => {
        const [file = '', anchor] = to.split('#');
        const at = file === '' ? join(ROOT, page) : join(ROOT, dirname(page), file);
        if (!existsSync(at)) return [`${page}: ${to}`];
        if (anchor === undefined || statSync(at).isDirectory()) return [];
        return anchors(at).includes(anchor) ? [] : [`${page}: ${to} (no such heading)`];
      }),
    );
    expect(broken).toEqual([]);
  });

  it('name no folder of the machine that they were written on', () => {
    const folders = [ROOT, '/work/', '/home/', '/tmp/airbundle'];
    const named = pages().flatMap((page) =>
      folders.filter((folder) => read(page).includes(folder)).map((folder) => `${page}: ${folder}`),
    );
    expect(named).toEqual([]);
  });

  it('name every file of the project that they mention in code', () => {
    const lost = pages()
      .filter((page) => page !== 'CHANGELOG.md')
      .flatMap((page) =>
        [...read(page).matchAll(/`((?:src|test|scripts|manifests|dockerfiles)\/[A-Za-z0-9._/-]+)`/g)]
          .map((match) => match[1] ?? '')
          .filter((file) => !existsSync(join(ROOT, file)) && !file.endsWith('.lock.json'))
          .map((file) => `${page}: ${file}`),
      );
    expect(lost).toEqual([]);
  });
});

describe('docs/reference/files.md', () => {
  const page = read('docs/reference/files.md');
  it.each(Object.entries({ ...target, ...configured }))('has the path of %s', (_, path) => {
    // A folder is named by itself or as the beginning of what lies in it.
    expect(page).toContain(path);
  });
});

describe('the references of what a person writes', () => {
  /** Below these stand names that a manifest declares; `components` of a site is one of them, that of a manifest a list. */
  const FREE = new Set(['values']);

  /** Every key of the shipped files, whatever its depth. */
  function keysIn(value: unknown): string[] {
    if (Array.isArray(value)) return value.flatMap(keysIn);
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, below]) => [key, ...(FREE.has(key) ? [] : keysIn(below))]);
  }

  function withoutSiteValues(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || !('airbundle-site' in value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, below]) => [key, key === 'components' ? null : below]),
    );
  }

  it.each([
    ['docs/reference/manifest.md', 'manifests'],
    ['docs/reference/site.md', 'manifests/sites'],
  ])('%s has every key that the files in %s use', (page, folder) => {
    const files = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(0);
    const keys = new Set(
      files.flatMap((name) => keysIn(withoutSiteValues(parseYaml(read(join(folder, name)))))),
    );
    const text = read(page);
    expect([...keys].filter((key) => !new RegExp(`[\`.\\s]${key}(?:\\[\\])?[\`.:\\s]`).test(text))).toEqual(
      [],
    );
  });
});

describe('the decisions', () => {
  const folder = 'docs/decisions';
  const files = readdirSync(join(ROOT, folder)).filter((name) => /^\d{4}-.*\.md$/.test(name));

  it('are all in the list, each under its own number', () => {
    const list = read(`${folder}/README.md`);
    for (const file of files) {
      expect(list).toContain(`[${file.slice(0, 4)}](${file})`);
      expect(read(`${folder}/${file}`)).toMatch(new RegExp(`^# ${file.slice(0, 4)}:? `));
    }
    expect(new Set(files.map((file) => file.slice(0, 4))).size).toBe(files.length);
  });

  it('have a page each at most', () => {
    for (const file of files) expect(read(`${folder}/${file}`).split(/\s+/).length).toBeLessThan(600);
  });
});

describe('the two languages', () => {
  const twins = pages()
    .filter((page) => page.endsWith('.ko.md'))
    .map((korean) => [korean.replace('.ko.md', '.md'), korean] as const);

  it('are README and five guides', () => {
    expect(twins.map(([english]) => english)).toEqual([
      'README.md',
      'docs/guides/operator.md',
      'docs/guides/packager.md',
      'docs/guides/reviewer.md',
      'docs/guides/troubleshooting.md',
      'docs/guides/writing-a-manifest.md',
    ]);
  });

  it.each(twins)('hold the same commands, files and output: %s, %s', (english, korean) => {
    const code = (page: string): string[] =>
      blocksOf(page).map(({ language, text }) => {
        const same = language === 'sh' ? text.replace(/ +#.*$/gm, '') : text;
        return `${language}\n${same}`;
      });
    expect(code(korean)).toEqual(code(english));
  });

  it.each(twins)('have the same structure: %s, %s', (english, korean) => {
    const shape = (page: string): string[] =>
      read(page)
        .replace(/^```[\s\S]*?^```$/gm, '')
        .split('\n')
        .flatMap(
          (line) =>
            /^#+ /.exec(line)?.[0] ?? (line.startsWith('|') ? [`|${line.split(/(?<!\\)\|/).length}`] : []),
        );
    expect(shape(korean)).toEqual(shape(english));
  });
});
