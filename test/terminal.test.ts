import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildInto, ROOT } from './docs/support.js';
import { skipUnless } from './support/skip.js';

const SECRET = 'correct horse battery';

interface Typed {
  readonly exit: number | null;
  /** All that the terminal showed. */
  readonly shown: string;
}

/** `bundle …` on a terminal of its own (util-linux's script); each answer is typed when its question is there. */
function onTerminal(program: string, words: readonly string[], answers: readonly string[]): Promise<Typed> {
  const command = [process.execPath, program, ...words].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let shown = '';
  let asked = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString('utf8');
    const questions = shown.match(/(?:assphrase[^\n]*|again): /g)?.length ?? 0;
    while (asked < questions && asked < answers.length) {
      child.stdin.write(`${answers[asked] ?? ''}\r`);
      asked += 1;
    }
  });
  return new Promise((resolve) => {
    child.on('close', (exit) => {
      resolve({ exit, shown });
    });
  });
}

describe('the passphrase of a signing key', () => {
  skipUnless(existsSync('/usr/bin/script'), 'no script(1) on this machine, which makes a terminal');
  let folder = '';
  let program = '';
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'airbundle-terminal-'));
    for (const name of ['node_modules', 'package.json'])
      symlinkSync(path.join(ROOT, name), path.join(folder, name));
    buildInto(path.join(folder, 'build'));
    program = path.join(folder, 'build', 'cli.js');
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const at = (name: string): string => path.join(folder, name);
  const sums = (): string => {
    const file = at('demo-1.0.0-el7.x86_64.sha256');
    const line = (name: string): string => `${'0'.repeat(64)}  ${name}\n`;
    writeFileSync(
      file,
      `# airbundle-1 name=demo version=1.0.0 sequence=3 target=el7.x86_64\n${line('demo-1.0.0-el7.x86_64.tar')}${line('install.sh')}`,
    );
    return file;
  };

  it('is asked for on a terminal, twice for a new key and once to sign, and is never shown', async () => {
    const made = await onTerminal(program, ['keygen', '--out', at('k'), '--passphrase'], [SECRET, SECRET]);
    expect([made.exit, made.shown]).toEqual([0, expect.stringContaining('fingerprint')]);
    expect(readFileSync(at('k.key.pem'), 'utf8')).toContain('ENCRYPTED');
    const signed = await onTerminal(program, ['sign', sums(), '--key', at('k.key.pem')], [SECRET]);
    expect([signed.exit, signed.shown]).toEqual([
      0,
      expect.stringContaining('signed: demo 1.0.0, sequence 3, el7.x86_64'),
    ]);
    expect(signed.shown).toContain('Not checked, since not all of them are here: demo-1.0.0-el7.x86_64.tar');
    for (const { shown } of [made, signed]) expect(shown).not.toContain('horse');
  });

  it('that differs the second time, is empty or is wrong makes and signs nothing', async () => {
    const differ = await onTerminal(program, ['keygen', '--out', at('d'), '--passphrase'], [SECRET, 'other']);
    expect([differ.exit, differ.shown]).toEqual([2, expect.stringContaining('PASSPHRASES_DIFFER')]);
    const empty = await onTerminal(program, ['keygen', '--out', at('d'), '--passphrase'], ['']);
    expect([empty.exit, empty.shown]).toEqual([2, expect.stringContaining('NO_PASSPHRASE')]);
    expect(existsSync(at('d.key.pem'))).toBe(false);
    await onTerminal(program, ['keygen', '--out', at('w'), '--passphrase'], [SECRET, SECRET]);
    const wrong = await onTerminal(program, ['sign', sums(), '--key', at('w.key.pem')], ['wrong']);
    expect([wrong.exit, wrong.shown]).toEqual([2, expect.stringContaining('WRONG_PASSPHRASE')]);
  });

  it('that nobody can type is an error, not a wait', () => {
    const run = (...words: string[]) =>
      spawnSync(process.execPath, [program, ...words], { encoding: 'utf8', input: `${SECRET}\n${SECRET}\n` });
    const made = run('keygen', '--out', at('n'), '--passphrase');
    expect([made.status, made.stderr]).toEqual([2, expect.stringContaining('NO_TERMINAL')]);
    writeFileSync(at('phrase'), `${SECRET}\n`);
    expect(run('keygen', '--out', at('n'), '--passphrase-file', at('phrase')).status).toBe(0);
    const signed = run('sign', sums(), '--key', at('n.key.pem'));
    expect([signed.status, signed.stderr]).toEqual([2, expect.stringContaining('PASSPHRASE_NEEDED')]);
    const both = run('keygen', '--out', at('b'), '--passphrase', '--passphrase-file', at('phrase'));
    expect([both.status, existsSync(at('b.key.pem'))]).toEqual([2, false]);
  });

  it.each([
    [[], 'NO_KEY'],
    [['--no-sign', '--key', 'k'], 'KEY_AND_NO_SIGN'],
  ])('is of no use to a create without a key, or with one and --no-sign: %j', (words, code) => {
    const done = spawnSync(process.execPath, [program, 'create', 'none.yaml', ...words], {
      encoding: 'utf8',
    });
    expect([done.status, done.stderr]).toEqual([2, expect.stringContaining(`error[${code}]`)]);
  });
});
