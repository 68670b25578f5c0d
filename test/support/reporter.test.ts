import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const reporter = join(root, 'test/support/reporter.ts');
const runner = join(root, 'test/support/runner.ts');

const planted = {
  'mixed.test.ts': `
    import { describe, expect, it } from 'vitest';
    import { skipUnless } from '${join(root, 'test/support/skip.ts')}';
    it('passes', () => {});
    it('fails', () => { expect(1).toBe(2); });
    it('skips itself', ({ skip }) => { skip('no Docker here'); });
    it.skip('is skipped', () => {});
    it.todo('is planned');
    describe('with a tool', () => {
      skipUnless(false, 'the tool is missing');
      it('uses the tool', () => { throw new Error('it ran'); });
    });
    describe('without a tool', () => {
      skipUnless(true, 'never');
      it('runs', () => {});
    });
  `,
  'hook.test.ts': `
    import { beforeAll, describe, it } from 'vitest';
    describe('a suite', () => {
      beforeAll(() => { throw new Error('the hook broke'); });
      it('never starts', () => {});
    });
  `,
  'import.test.ts': `import './not-there.js';`,
};

describe('the reporter', () => {
  let folder: string;

  const runVitest = async (
    files: string,
    env: Record<string, string> = {},
  ): Promise<{ lines: string[]; exitCode: number | undefined }> => {
    const { stdout, exitCode } = await execa(
      process.execPath,
      [
        join(root, 'node_modules/vitest/vitest.mjs'),
        'run',
        '--config',
        'none.config.js',
        '--reporter',
        reporter,
        files,
      ],
      {
        cwd: folder,
        reject: false,
        env: { NO_COLOR: '1', FORCE_COLOR: undefined, AIRBUNDLE_TEST_UNTIL: undefined, ...env },
      },
    );
    return { lines: stdout.split('\n'), exitCode };
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airbundle-reporter-'));
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    await writeFile(join(folder, 'none.config.js'), `export default { test: { runner: '${runner}' } };`);
    for (const [name, text] of Object.entries(planted)) await writeFile(join(folder, name), text);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('names each file that would have begun after the time was over, and no hook of it runs', async () => {
    const { lines, exitCode } = await runVitest('hook', { AIRBUNDLE_TEST_UNTIL: '1' });
    expect(lines.slice(-2)).toEqual([
      'skipped: hook.test.ts, 1 of its tests: the time for all tests was over (AIRBUNDLE_TEST_MINUTES); npm test -- hook.test.ts runs them',
      '0 passed, 0 failed, 1 skipped',
    ]);
    expect(exitCode).toBe(0);
    const later = String(Date.now() + 3_600_000);
    expect((await runVitest('mixed', { AIRBUNDLE_TEST_UNTIL: later })).lines.pop()).toBe(
      '2 passed, 1 failed, 4 skipped',
    );
  });

  it('names every skipped test with its reason, then what failed, and ends with the count', async () => {
    const { lines, exitCode } = await runVitest('mixed');
    expect(lines.slice(-6)).toEqual([
      'skipped: mixed.test.ts > skips itself: no Docker here',
      'skipped: mixed.test.ts > is skipped: no reason given',
      'skipped: mixed.test.ts > is planned: still to be written',
      'skipped: mixed.test.ts > with a tool > uses the tool: the tool is missing',
      'failed: mixed.test.ts > fails: expected 1 to be 2 // Object.is equality',
      '2 passed, 1 failed, 4 skipped',
    ]);
    expect(exitCode).toBe(1);
  });

  it('counts a failed hook as failed, not only as skipped tests', async () => {
    const { lines } = await runVitest('hook');
    expect(lines.slice(-2)).toEqual([
      'failed: hook.test.ts > a suite: the hook broke',
      '0 passed, 1 failed, 1 skipped',
    ]);
  });

  it('counts a file that cannot be loaded as failed', async () => {
    const { lines } = await runVitest('import');
    expect(lines.at(-2)).toMatch(/^failed: import\.test\.ts: .*not-there\.js/);
    expect(lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped');
  });

  it('counts nothing found as failed', async () => {
    const { exitCode } = await runVitest('no-such-file');
    expect(exitCode).toBe(1);
  });
});
