import { chmod, cp, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { node16 } from '../lab/backend-image.js';
import type { MadeBundle } from '../review/bundle.js';
import { makeBundle, makeSigner } from '../review/bundle.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const signer = makeSigner();

/** What a node has: the bundle's runtime and one file, without npm, run by a user who is not root. */
describe('the built programs', () => {
  let scratch: string;
  let made: MadeBundle;
  let keyFile: string;
  let programs: Record<'packager' | 'node', readonly [string, string]>;

  beforeAll(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'airbundle-review-'));
    const build = path.join(scratch, 'package/build');
    await execa(process.execPath, ['scripts/build.mjs', '--outdir', build], { cwd: root });
    await cp(path.join(root, 'package.json'), path.join(scratch, 'package/package.json'));
    await symlink(path.join(root, 'node_modules'), path.join(scratch, 'package/node_modules'));
    await cp(path.join(build, 'installer.cjs'), path.join(scratch, 'installer.cjs'));
    await cp(await node16(), path.join(scratch, 'node'));
    programs = {
      packager: [process.execPath, path.join(build, 'cli.js')],
      node: [path.join(scratch, 'node'), path.join(scratch, 'installer.cjs')],
    };
    keyFile = path.join(scratch, 'packager.pub.pem');
    await writeFile(keyFile, signer.trusted.pem);
    const { folder, ...rest } = await makeBundle(signer);
    const copy = path.join(scratch, 'bundle');
    await cp(folder, copy, { recursive: true });
    made = { ...rest, folder: copy, tar: path.join(copy, path.basename(rest.tar)) };
    await chmod(scratch, 0o755);
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const run = async (which: 'packager' | 'node', ...args: string[]) => {
    const [program, script] = programs[which];
    const user = which === 'node' ? asNobody : {};
    return execa(program, [script, ...args], { reject: false, cwd: '/', ...user });
  };

  it.each(['packager', 'node'] as const)('verify on the %s side, writing nothing', async (which) => {
    const before = await readdir(made.folder);
    const good = await run(
      which,
      'verify',
      made.folder,
      '--key',
      keyFile,
      '--fingerprint',
      signer.trusted.fingerprint,
    );
    expect([good.exitCode, good.stderr]).toEqual([0, expect.stringContaining('8 members')]);
    expect(good.stdout).toMatch(/^verified: demo 1\.2\.3, sequence 7, el7\.x86_64\n/);
    expect(await readdir(made.folder)).toEqual(before);

    const json = await run(which, 'verify', made.folder, '--key', keyFile, '-o', 'json', '-q');
    expect(JSON.parse(json.stdout)).toMatchObject({ verified: true, payload: { members: 8 } });
    expect(json.stderr).toBe('');
  });

  it.each(['packager', 'node'] as const)(
    'find damage on the %s side: exit 4 and the place',
    async (which) => {
      const damaged = path.join(scratch, `damaged-${which}`);
      await cp(made.folder, damaged, { recursive: true });
      await writeFile(path.join(damaged, 'install.sh'), 'altered');
      const text = await run(which, 'verify', damaged, '--key', keyFile);
      expect([text.exitCode, text.stdout]).toEqual([4, '']);
      expect(text.stderr).toContain(`error[ALTERED]: SHA-256 is`);
      expect(text.stderr).toContain(`at: ${damaged}/install.sh`);
      const json = await run(which, 'verify', damaged, '--key', keyFile, '-o', 'json');
      expect(json.exitCode).toBe(4);
      expect(JSON.parse(json.stdout)).toMatchObject({
        verified: false,
        problems: [{ code: 'ALTERED', where: `${damaged}/install.sh` }],
      });
    },
  );

  it.each(['packager', 'node'] as const)('say on the %s side what is not proved', async (which) => {
    const noKey = await run(which, 'verify', made.folder);
    expect([noKey.exitCode, noKey.stderr]).toEqual([2, expect.stringContaining('error[NO_KEY]')]);
    expect((await run(which, 'verify', made.tar, '--key', keyFile)).exitCode).toBe(4);
    const unsigned = await run(which, 'verify', made.tar, '--unsigned');
    expect(unsigned.exitCode).toBe(0);
    expect(unsigned.stdout).toMatch(/^NOT SIGNED: [^]*\nNOT SIGNED: [^\n]*$/);
    const both = await run(which, 'verify', made.tar, '--unsigned', '--key', keyFile);
    expect(both.exitCode).toBe(2);
    const alone = await run(which, 'inspect', made.folder, '--fingerprint', signer.trusted.fingerprint);
    expect(alone.exitCode).toBe(2);
    const look = await run(which, 'inspect', made.folder);
    expect([look.exitCode, look.stdout]).toEqual([
      0,
      expect.stringMatching(/^NOT VERIFIED: [^]*NOT VERIFIED: /),
    ]);
    const json = await run(which, 'inspect', made.folder, '--key', keyFile, '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({ verified: true, totals: { members: 8 } });
  });

  it('show examples with --help', async () => {
    for (const which of ['packager', 'node'] as const)
      for (const command of ['verify', 'inspect']) {
        const { stdout, exitCode } = await run(which, command, '--help');
        expect([exitCode, stdout]).toEqual([0, expect.stringContaining('Examples:')]);
      }
    expect((await run('packager', 'sign', '--help')).stdout).toContain('Examples:');
  });

  it('end quietly when nobody reads on', async () => {
    const [program, script] = programs.packager;
    const { exitCode, stderr } = await execa(
      'bash',
      [
        '-c',
        'set -o pipefail; "$0" "$1" inspect "$2" -q | head -n 1 >/dev/null',
        program,
        script,
        made.folder,
      ],
      { reject: false },
    );
    expect([exitCode, stderr]).toEqual([0, '']);
  });
});
