import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { node16 } from '../lab/backend-image.js';
import { ROOT } from '../lab/paths.js';
import { skipUnless } from '../support/skip.js';

/** The runtime of a bundle; this test needs the network once, if .lab/cache has none. */
const runtime = await node16().then(
  (file) => ({ file, reason: '' }),
  (error: unknown) => ({ file: '', reason: String(error) }),
);

describe('installer.cjs on Node 16.20.2', () => {
  skipUnless(existsSync(runtime.file), `no Node 16.20.2: ${runtime.reason}`);
  let folder: string;
  let installer: string;
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'airbundle-installer-'));
    chmodSync(folder, 0o755);
    installer = path.join(folder, 'installer.cjs');
    await build({
      entryPoints: [path.join(ROOT, 'src/installer.ts')],
      outfile: installer,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node16',
      logLevel: 'error',
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (...words: string[]) => {
    const done = spawnSync(runtime.file, [installer, ...words], { encoding: 'utf8', cwd: folder, env: {} });
    return { exit: done.status, out: done.stdout, err: done.stderr };
  };
  const root = process.getuid?.() === 0;

  it('starts, and every command has help with an example', () => {
    const top = run('--help');
    expect([top.exit, top.err]).toEqual([0, '']);
    for (const command of ['install', 'plan', 'inventory', 'status']) {
      expect(top.out).toContain(command);
      const help = run(command, '--help');
      expect([command, help.exit, help.out]).toEqual([
        command,
        0,
        expect.stringMatching(/Examples?:\n {2}airbundle /),
      ]);
    }
  });

  it.each([
    [['instal', '/x'], "unknown command 'instal'"],
    [['install'], "missing required argument 'folder'"],
    [['install', '/x', '--forse'], "unknown option '--forse'"],
    [['status', '-o', 'xml'], '"xml" is none of: text, json'],
    [['install', '/x', '--key'], 'argument missing'],
    [[], 'Usage'],
  ])('ends with 2 for %j', (words, said) => {
    const done = run(...words);
    expect([done.exit, done.out, done.err]).toEqual([2, '', expect.stringContaining(said)]);
  });

  it('is for root', () => {
    if (root) {
      const done = spawnSync(
        'setpriv',
        ['--reuid', '65534', '--clear-groups', runtime.file, installer, 'status'],
        { encoding: 'utf8' },
      );
      // The test's own folders may be closed to others.
      if (!done.stderr.includes('EACCES') && !done.stderr.includes('ermission denied'))
        expect([done.status, done.stderr]).toEqual([5, expect.stringContaining('error[NOT_ROOT]')]);
      return;
    }
    expect(run('status')).toEqual({
      exit: 5,
      out: '',
      err: expect.stringContaining('error[NOT_ROOT]') as string,
    });
  });

  it('tells errors as text, or as one line of JSON', () => {
    // Nothing is installed on the machine that runs the tests, or this is not root: both are refusals.
    const text = run('status');
    expect([text.exit, text.out]).toEqual([5, '']);
    expect(text.err).toMatch(/^error\[[A-Z_]+\]: .+\n {2}next: .+/);
    const json = run('status', '-o', 'json', '--log-format', 'json');
    expect(json.out).toBe('');
    expect(JSON.parse(json.err)).toMatchObject({
      kind: 'error',
      exit: 5,
      code: expect.stringMatching(/^[A-Z_]+$/) as string,
    });
  });

  it('goes on when nobody reads what it says', () => {
    const done = spawnSync(
      'sh',
      ['-c', `"$0" "$1" status 2>&1 | true; "$0" "$1" status >&- 2>&-; echo $?`, runtime.file, installer],
      { encoding: 'utf8' },
    );
    expect(done.stdout).toBe('5\n');
  });

  it('is one file of a size that can be reviewed', () => {
    expect(statSync(installer).size).toBeLessThan(3 * 1024 * 1024);
  });
});
