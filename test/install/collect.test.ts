import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { localHost } from '../../src/host/local.js';
import { collect } from '../../src/install/build.js';
import { temporaryFolder } from '../host/rooted.js';

const uid = process.getuid?.() ?? 0;
const component = {
  name: 'hello',
  files: ['/usr/sbin/hello', '/usr/share/hello/*'],
  discard: ['/usr/share/man/**', '/etc/hello/*.sample'],
  links: [{ path: '/usr/sbin/hi', to: '/usr/sbin/hello' }],
};

describe('what a build has made', () => {
  let destdir: string;
  const put = (name: string, mode = 0o644): void => {
    mkdirSync(path.dirname(path.join(destdir, name)), { recursive: true });
    writeFileSync(path.join(destdir, name), name);
    chmodSync(path.join(destdir, name), mode);
  };
  const run = (given = component, owner = uid) => collect(localHost(), given, destdir, owner);
  const problems = async (given = component, owner = uid): Promise<readonly string[]> => {
    try {
      await run(given, owner);
    } catch (error) {
      expect(error).toMatchObject({ code: 'BUILD_OUTPUT', exit: 6 });
      return (error as { details: readonly string[] }).details;
    }
    throw new Error('it was taken');
  };

  beforeEach(() => {
    destdir = temporaryFolder();
    put('usr/sbin/hello', 0o711);
    put('usr/share/hello/a', 0o600);
    symlinkSync('hello', path.join(destdir, 'usr/sbin/hi'));
  });

  it('is taken as declared, with plain modes; the rest that is declared as discarded stays behind', async () => {
    put('usr/share/man/man8/hello.8');
    put('etc/hello/hello.conf.sample');
    expect((await run()).map(({ path: at, mode }) => [at, mode])).toEqual([
      ['/usr/sbin/hello', 0o755],
      ['/usr/share/hello/a', 0o644],
    ]);
  });

  it.each<[string, (at: (name: string) => string) => void, string]>([
    ['an undeclared file', () => put('usr/sbin/extra'), '/usr/sbin/extra is not declared'],
    ['a hidden file', () => put('usr/sbin/.extra'), '/usr/sbin/.extra is not declared'],
    ['a setuid file', () => put('usr/sbin/hello', 0o4755), '/usr/sbin/hello is setuid, setgid or sticky'],
    ['a setgid file that is discarded', () => put('usr/share/man/x', 0o2755), '/usr/share/man/x is setuid'],
    [
      "a link in a file's place",
      (at) => symlinkSync('/etc/shadow', at('usr/share/hello/b')),
      '/usr/share/hello/b is a symbolic link',
    ],
    [
      'a link out of the tree as a folder',
      (at) => symlinkSync('/etc', at('usr/share/more')),
      '/usr/share/more is a symbolic link',
    ],
    [
      'a FIFO',
      (at) => execFileSync('mkfifo', [at('usr/share/hello/fifo')]),
      '/usr/share/hello/fifo is neither a file nor a link',
    ],
  ])('is refused with %s', async (_, change, problem) => {
    change((name) => path.join(destdir, name));
    expect(await problems()).toEqual([expect.stringContaining(problem)]);
  });

  it("is refused with a hard link to somebody else's file", async () => {
    linkSync(path.join(destdir, 'usr/share/hello/a'), path.join(destdir, 'usr/share/hello/same'));
    expect(await run()).toHaveLength(3);
    // Files of another user than the build's.
    expect(await problems(component, uid + 1)).toContainEqual(
      expect.stringContaining('/usr/sbin/hello belongs to another user'),
    );
  });

  it('is refused when something declared is missing', async () => {
    const more = {
      ...component,
      files: [...component.files, '/usr/lib/none*'],
      links: [...component.links, { path: '/usr/none', to: '/x' }],
    };
    expect(await problems(more)).toEqual([
      '/usr/lib/none* is declared, but the build did not make it',
      '/usr/none is declared as a link, but the build did not make it',
    ]);
  });

  it("is refused where it would write airbundle's own trust, state, program or command, whatever glob matches it", async () => {
    const own = [
      'etc/airbundle/trust/zz.pem',
      'etc/airbundle/trust/threshold',
      'var/lib/airbundle/floor.json',
      'var/log/airbundle/build-hello.log',
      'usr/libexec/airbundle/installer.cjs',
      'usr/sbin/airbundle',
      'usr/sbin/bundle',
      'sbin/airbundle',
      'run/airbundle.lock',
      'var/run/airbundle/x',
      'proc/self/root/etc/airbundle/trust/zz.pem',
    ];
    own.forEach((name) => {
      put(name);
    });
    put('etc/airbundle-exporter.conf');
    symlinkSync('/usr/sbin/hello', path.join(destdir, 'var/lib/airbundle/link'));
    const all = { path: '/var/lib/airbundle/link', to: '/usr/sbin/hello' };
    const found = await problems({ ...component, files: ['/**'], links: [...component.links, all] });
    expect([...found].sort()).toEqual(
      [...own, 'var/lib/airbundle/link']
        .map((name) => `/${name} is airbundle's own place or the kernel's: a bundle puts nothing there`)
        .sort(),
    );
    // What is thrown away is written nowhere.
    expect(
      await run({ ...component, discard: ['/**/airbundle/**', '/**/*bundle*', '/proc/**'], links: [] }).catch(
        (error: unknown) => (error as { details: string[] }).details,
      ),
    ).toEqual(['/usr/sbin/hi is a symbolic link that is not declared']);
  });

  it('is refused with far too many files', async () => {
    mkdirSync(path.join(destdir, 'many'));
    execFileSync('sh', ['-c', 'seq 20001 | xargs touch'], { cwd: path.join(destdir, 'many') });
    await expect(run()).rejects.toThrow('more than 20000 files');
  });
});
