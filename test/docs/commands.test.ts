import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { skipUnless } from '../support/skip.js';
import type { Command } from './support.js';
import { buildInto, commandsOf, pages, read, ROOT, shellBlocksOf, simpleCommands } from './support.js';

let folder = '';
/** Commands of all programs under one roof: `bundle` is the packager's and the node's name. */
let commands: Map<string, Command>;
/** Of the `plan` that only the packager's program has. */
let optionsOfDeskPlan: readonly string[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'airbundle-docs-'));
  for (const name of ['node_modules', 'package.json', 'dockerfiles'])
    symlinkSync(join(ROOT, name), join(folder, name));
  buildInto(join(folder, 'build'));
  commands = new Map();
  for (const program of ['cli.js', 'installer.cjs', 'deploy.cjs'])
    for (const [name, command] of commandsOf(join(folder, 'build', program))) {
      if (program === 'cli.js' && name === 'plan') optionsOfDeskPlan = [...command.options.keys()];
      const options = new Map([...(commands.get(name)?.options ?? []), ...command.options]);
      commands.set(name, { ...command, options });
    }
}, 120_000);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What install.sh calls the program with: the words that prove the folder are its own for rollback and uninstall. */
function byInstallSh(words: readonly string[]): readonly string[] {
  const [verb = ''] = words;
  if (verb === '--tools-only') return ['tools', '.', ...words.slice(1)];
  if (['plan', 'inventory'].includes(verb)) return [verb, '.', ...words.slice(1)];
  if (!['rollback', 'uninstall'].includes(verb)) return ['install', '.', ...words];
  const proof = ['--key', '--fingerprint'];
  return words.filter((word, at) => !proof.includes(word) && !proof.includes(words[at - 1] ?? ''));
}

/** Why one command of a page would be refused; undefined: it would be taken. */
function mistake(words: readonly string[]): string | undefined {
  const [program = '', ...rest] = words;
  const installSh = program === 'sh' && rest[0] === 'install.sh';
  if (program !== 'bundle' && program !== 'airbundle' && !installSh) return undefined;
  const typed = installSh ? byInstallSh(rest.slice(1)) : rest;
  if (typed.length === 1 && ['--help', '--version'].includes(typed[0] ?? '')) return undefined;
  const two = typed.slice(0, 2).join(' ');
  const name = commands.has(two) ? two : (typed[0] ?? '');
  const given = typed.slice(name.split(' ').length);
  const command = commands.get(name);
  if (command === undefined) return `there is no command "${name}"`;
  let count = 0;
  for (let at = 0; at < given.length; at += 1) {
    const word = given[at] ?? '';
    if (word === '>' || word === '<') {
      at += 1;
      continue;
    }
    if (!word.startsWith('-')) {
      count += 1;
      continue;
    }
    const takesValue = command.options.get(word);
    if (takesValue === undefined) return `${name} has no option ${word}`;
    if (!takesValue) continue;
    at += 1;
    if (given[at] === undefined) return `${word} needs a value`;
  }
  const { atLeast, atMost } = command.arguments;
  return count >= atLeast && count <= atMost
    ? undefined
    : `${name} takes ${atLeast === atMost ? atLeast : `${atLeast} to ${atMost}`} arguments`;
}

describe('a command in the documents', () => {
  it('is one that the programs take, with options that they have', () => {
    const mistakes = pages().flatMap((page) =>
      shellBlocksOf(page).flatMap((block) =>
        simpleCommands(block.text).flatMap((words) => {
          const what = mistake(words);
          return what === undefined ? [] : [`${block.where}: ${words.join(' ')}: ${what}`];
        }),
      ),
    );
    expect(mistakes).toEqual([]);
  });

  it('is found at all, and a wrong one is noticed', () => {
    const all = pages().flatMap((page) => shellBlocksOf(page).flatMap((block) => simpleCommands(block.text)));
    const ours = all.filter(([program]) => program === 'bundle' || program === 'airbundle');
    expect(ours.length).toBeGreaterThan(20);
    expect(mistake(['bundle', 'explode'])).toMatch('no command');
    expect(mistake(['bundle', 'create', 'm.yaml', '--kye', 'k'])).toMatch('no option --kye');
    expect(mistake(['sh', 'install.sh', '--key'])).toMatch('needs a value');
    expect(mistake(['airbundle', 'install'])).toMatch('takes 1');
  });

  it('is shell that a shell can read', () => {
    for (const page of pages())
      for (const block of shellBlocksOf(page)) {
        const read = spawnSync('bash', ['-n'], { input: block.text, encoding: 'utf8' });
        expect(`${block.where} ${read.stderr}`).toBe(`${block.where} `);
      }
  });

  it('names npm scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = pages().flatMap((page) =>
      [...read(page).matchAll(/npm run ([a-z:]+)/g)].map((m) => m[1] ?? ''),
    );
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});

describe('every command and option', () => {
  const everyOption = (): [string, string][] =>
    [...commands.values()].flatMap(({ name, options }) =>
      [...options.keys()].map((option): [string, string] => [name, option]),
    );

  it('is in docs/reference/commands.md', () => {
    const page = read('docs/reference/commands.md');
    // A command of both programs has a section for each.
    const sections = new Map<string, string>();
    for (const section of page.split(/^### /m).slice(1)) {
      const name = /^(?:bundle|airbundle) (.+)/.exec(section)?.[1] ?? '';
      sections.set(name, (sections.get(name) ?? '') + section);
    }
    const common = page.split('## Every command')[1]?.split('\n## ')[0] ?? '';
    const missing = everyOption().filter(([name, option]) => {
      const here = `${common}${sections.get(name) ?? ''}${['plan', 'create'].includes(name) ? (sections.get(name === 'plan' ? 'install' : 'lock') ?? '') : ''}`;
      return !new RegExp(`\`${option}[ \`]`).test(here);
    });
    expect(missing).toEqual([]);
    expect([...commands.keys()].filter((name) => !sections.has(name))).toEqual([]);
  });

  it('of the nodes side by side is no choice of nodes: one alone says nothing of who holds a VIP', () => {
    expect(commands.get('deploy')?.options.has('--node')).toBe(true);
    expect(commands.get('status')?.options.has('--node')).toBe(false);
    const section = read('docs/reference/commands.md').split('### bundle status\n')[1]?.split('\n### ')[0];
    expect(section).not.toContain('--node');
  });

  it("of the packager's plan is in the section of that program, too", () => {
    const section =
      read('docs/reference/commands.md').split('### bundle plan\n')[1]?.split('\n### ')[0] ?? '';
    const common = read('docs/reference/commands.md').split('## Every command')[1]?.split('\n## ')[0] ?? '';
    const missing = [...optionsOfDeskPlan].filter(
      (option) => !new RegExp(`\`${option}[ \`]`).test(common + section),
    );
    expect(optionsOfDeskPlan).toContain('--inventory');
    expect(missing).toEqual([]);
  });

  it('is in the man page', () => {
    const page = read('docs/man/bundle.1').replaceAll('\\-', '-');
    const missing = everyOption().filter(
      ([, option]) => !new RegExp(`(?:^|\\s)${option}(?![a-z-])`, 'm').test(page),
    );
    expect(missing).toEqual([]);
    expect([...commands.keys()].filter((name) => !page.includes(`\n.B ${name}\n`))).toEqual([]);
  });

  it('has an example in its --help', () => {
    for (const { help } of commands.values()) expect(help).toMatch(/Examples?:\n {2}(?:bundle|airbundle) /);
  });
});

describe('shell completion', () => {
  // It asks every command for its help: half a minute where starts of programs are dear and other work goes on.
  it('is what scripts/completion.mjs makes from --help', { timeout: 120_000 }, () => {
    const script = join(ROOT, 'scripts/completion.mjs');
    const args = [script, '--check', '--programs', join(folder, 'build')];
    const checked = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(`${checked.stderr}${checked.stdout}`).toBe('');
    expect(checked.status).toBe(0);
  });

  it('offers every command and every option of it in bash', () => {
    const first = [...new Set([...commands.keys()].map((name) => name.split(' ')[0] ?? ''))];
    const asked = [
      [''],
      ...first.map((name) => [name, '-']),
      ['cache', ''],
      ['create', '--engine', ''],
      ['create', 'manif'],
    ];
    // One bash answers all: a start of a program for each is what takes long on a busy machine.
    const text = asked.map((words) => {
      const line = words.map((word) => `'${word}'`).join(' ');
      return `COMP_WORDS=(bundle ${line}); COMP_CWORD=${String(words.length)}; _airbundle; echo "\${COMPREPLY[*]}"`;
    });
    const script = ['source docs/completion/bundle.bash', ...text].join('\n');
    const answers = execFileSync('bash', ['-c', script], { cwd: ROOT, encoding: 'utf8' }).split('\n');
    const offered = new Map(
      asked.map((words, index) => [words.join(' '), (answers[index] ?? '').split(' ')]),
    );
    expect(offered.get('')?.filter((word) => !word.startsWith('-'))).toEqual(first.sort());
    for (const name of first) {
      const below = [...commands.values()].filter((command) => command.name.split(' ')[0] === name);
      const options = new Set(below.flatMap((command) => [...command.options.keys()]));
      expect(offered.get(`${name} -`)?.sort()).toEqual([...options].sort());
    }
    expect(offered.get('cache ')).toEqual(['list', 'prune']);
    expect(offered.get('create --engine ')).toEqual(['docker', 'podman']);
    expect(offered.get('create manif')).toEqual(['manifests']);
  });
});

describe('the man page', () => {
  const groff = ['/usr/bin/groff', '/usr/local/bin/groff', '/opt/homebrew/bin/groff'].find(existsSync);
  skipUnless(groff !== undefined, 'no groff on this machine');

  it('is read by groff without a warning', () => {
    const made = spawnSync(groff ?? '', ['-ww', '-man', '-Tascii', join(ROOT, 'docs/man/bundle.1')], {
      encoding: 'utf8',
    });
    expect(made.stderr).toBe('');
    expect(made.stdout).toContain('Trusted keys.');
  });
});
