import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { beginUnpacking, leftByRpm, parseFiles, removeLeftByRpm } from '../../src/install/unpacked.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const LIST = '/var/lib/airbundle/unpacking.json';
/** What rpm 4.18 prints of a package of EL7, and what rpm 4.11 makes of a mode: a negative number. */
const FILES = [
  `/usr/share/a\t16877\t0\t\t`,
  `/usr/share/a/one\t33188\t0\t${sha256('one')}\t`,
  `/usr/share/a/two\t-32348\t17\t${sha256('two')}\t`,
  `/usr/share/a/link\t41471\t0\t\tone`,
  `/usr/share/a/old-digest\t33188\t0\t0123456789abcdef0123456789abcdef\t`,
  `/var/log/a\t33188\t64\t\t`,
  `/usr/lib/on/the/way\t33188\t0\t${sha256('way')}\t`,
  '(none)\t(none)\t(none)\t(none)\t(none)',
  '',
].join('\n');

describe('the files of RPMs', () => {
  it('are read without what rpm does not unpack', () => {
    expect(parseFiles(FILES).map(({ path: at, kind, content }) => [at, kind, content])).toEqual([
      ['/usr/share/a', 'directory', null],
      ['/usr/share/a/one', 'file', sha256('one')],
      ['/usr/share/a/two', 'file', sha256('two')],
      ['/usr/share/a/link', 'link', 'one'],
      ['/usr/share/a/old-digest', 'file', null],
      ['/usr/lib/on/the/way', 'file', sha256('way')],
    ]);
  });
});

/* rpm is answered by the test; test/e2e/install-interrupted.test.ts kills a real one. */
describe('what a killed rpm left', () => {
  let host: Rooted;
  let owned: Set<string>;
  const at = (place: string): string => path.join(host.root, place);
  const is = (place: string): boolean => existsSync(at(place));

  beforeEach(() => {
    owned = new Set();
    host = rootedHost({
      answer: ([, option, ...words]) =>
        option === '-qp'
          ? { stdout: FILES }
          : {
              exitCode: 1,
              stdout: words
                .slice(2)
                .map((one) => (owned.has(one) ? 'other' : `file ${one} is not owned by any package`))
                .join('\n'),
            },
    });
    host.put('/var/lib/airbundle/x', '');
    mkdirSync(at('/usr/share'), { recursive: true });
  });

  const unpackHalf = (): void => {
    host.put('/usr/share/a/one', 'one');
    host.put('/usr/share/a/two;6b0c71b2', 'tw');
    symlinkSync('one', at('/usr/share/a/link'));
    host.put('/usr/lib/on/the/way', 'way');
  };

  it('goes when it is taken back: files, links, half-written files and folders', async () => {
    await beginUnpacking(host, ['/s/a.rpm']);
    unpackHalf();
    const { paths } = await leftByRpm(host);
    expect(paths.map(({ path: one }) => one)).toEqual([
      '/usr/share/a/two;6b0c71b2',
      '/usr/share/a/one',
      '/usr/share/a/link',
      '/usr/lib/on/the/way',
      '/usr/lib/on/the',
      '/usr/share/a',
      '/usr/lib/on',
      '/usr/lib',
    ]);
    expect(is('/usr/share/a/one')).toBe(true);
    expect(await removeLeftByRpm(host)).toEqual([]);
    expect(['/usr/share', '/usr/share/a', '/usr/lib', LIST].map(is)).toEqual([true, false, false, false]);
  });

  it('stays where a package owns it, where it was before, and where it is not as the RPM has it', async () => {
    host.put('/usr/share/a/one', 'one');
    await beginUnpacking(host, ['/s/a.rpm']);
    host.put('/usr/share/a/two', 'mine');
    host.put('/usr/share/a/old-digest', 'whatever');
    host.put('/usr/lib/on/the/way', 'way');
    owned.add('/usr/lib/on/the/way');
    expect(await removeLeftByRpm(host)).toEqual([
      '/usr/share/a/two stays: it is of no package, and not as the RPM has it',
      '/usr/share/a/old-digest stays: it is of no package, and not as the RPM has it',
    ]);
    expect(['/usr/share/a/one', '/usr/share/a/two', '/usr/lib/on/the/way'].map(is)).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('is still known to a run that goes on, and was killed as well', async () => {
    await beginUnpacking(host, ['/s/a.rpm']);
    unpackHalf();
    await beginUnpacking(host, ['/s/a.rpm']);
    await removeLeftByRpm(host);
    expect(is('/usr/share/a')).toBe(false);
  });

  it('is tidied by a run that goes on and ends well: half-written files go, whole ones stay', async () => {
    await beginUnpacking(host, ['/s/a.rpm']);
    unpackHalf();
    host.put('/usr/share/a/two;6b0c71b2.mine', 'not of rpm');
    host.put('/usr/share/a/mine;6b0c71b2', 'of no file of the package');
    mkdirSync(at('/usr/share/a/one;6b0c71b2'));
    const again = await beginUnpacking(host, ['/s/a.rpm']);
    // Somebody's rpm that began since is not touched.
    host.put('/usr/share/a/one;7b0c71b2', 'o');
    await again.done();
    expect(
      ['two;6b0c71b2', 'two;6b0c71b2.mine', 'mine;6b0c71b2', 'one;6b0c71b2', 'one;7b0c71b2', 'one'].map(
        (name) => is(`/usr/share/a/${name}`),
      ),
    ).toEqual([false, true, true, true, true, true]);
    expect(is(LIST)).toBe(false);
  });

  it('is not looked for where no run was killed, and a list that cannot be read is said', async () => {
    expect(await leftByRpm(host)).toEqual({ paths: [], problems: [] });
    expect(host.commands).toEqual([]);
    host.put(LIST, '{"airbundleUnpacking":2}');
    expect(await removeLeftByRpm(host)).toEqual([
      `what a killed rpm left cannot be told: ${LIST} is not of the form of this version`,
    ]);
  });

  it('is on disk for root alone, before rpm begins; an RPM that rpm cannot read fails the step', async () => {
    await beginUnpacking(host, ['/s/a.rpm']);
    expect((await host.lstat(LIST))?.mode).toBe(0o600);
    expect(JSON.parse(readFileSync(at(LIST), 'utf8'))).toMatchObject({
      paths: expect.arrayContaining([
        { path: '/usr/lib', kind: 'directory', content: null, isNew: true },
      ]) as unknown,
    });
    const broken = rootedHost({ answer: () => ({ exitCode: 1, stderr: 'error: open of x failed\n' }) });
    await expect(beginUnpacking(broken, ['/s/a.rpm'])).rejects.toMatchObject({
      code: 'RPM_UNREADABLE',
      exit: 6,
      details: ['error: open of x failed'],
    });
  });
});
