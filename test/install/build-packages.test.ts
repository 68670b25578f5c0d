import { describe, expect, it } from 'vitest';
import { eraseBuildPackages, findErasable } from '../../src/install/build-packages.js';
import { openJournal } from '../../src/install/journal.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import { Sha256 } from '../../src/model/grammar.js';

const GONE = 'libatomic-4.8.5-28.el7.x86_64';

describe('packages that only the build needed', () => {
  const erase = async (candidates: string[]): Promise<string[]> => {
    const host = rootedHost({
      answer: ([program, word]) =>
        program === 'rpm' && word === '-qa' ? { stdout: 'glibc\t0\t2.17\t222.el7\tx86_64\n' } : {},
    });
    const nothing = { erase: [], kept: [] };
    await eraseBuildPackages(host, openJournal(host, 'r1'), candidates, nothing);
    return host.commands.filter((line) => line === '/sbin/ldconfig');
  };

  it('are out of the cache of the loader, also where a killed rpm came to their files and not to their %postun', async () => {
    expect(await erase([GONE])).toHaveLength(1);
  });
  it('and it is not made anew where none has gone', async () => {
    expect(await erase([])).toEqual([]);
  });
});

describe('what may go of them', () => {
  const PROGRAM = '/usr/local/sbin/hello';
  const line = (nevra: string): string => {
    const [, name, version, release, arch] = /^(.+)-([^-]+)-([^-]+)\.([^.]+)$/.exec(nevra) ?? [];
    return [name, '0', version, release, arch].join('\t') + '\n';
  };
  const GCC = 'gcc-4.8.5-28.el7.x86_64';
  const ATOMIC = 'libatomic-4.8.5-28.el7.x86_64';
  const GLIBC = 'glibc-2.17-222.el7.x86_64';
  const LIBRARIES: Readonly<Record<string, string>> = {
    '/lib64/libc.so.6': GLIBC,
    '/lib64/libatomic.so.1': ATOMIC,
    '/opt/own/libown.so.1': '',
  };

  /** A node whose program loads some of these libraries. */
  const node = (loads: readonly string[], isMute = false): Rooted => {
    const host = rootedHost({
      answer: ([program, word, , , ...paths]) => {
        if (program === '/lib64/ld-linux-x86-64.so.2')
          return { stdout: loads.map((library) => `\t${library} (0x00007f0000000000)\n`).join('') };
        if (word === '-qa') return { stdout: [GLIBC, GCC, ATOMIC].map(line).join('') };
        if (word !== '-qf') return {};
        if (isMute) return { exitCode: 1, stderr: 'error: cannot open Packages database' };
        const said = paths.map((library) => {
          const owner = LIBRARIES[library] ?? '';
          return owner === '' ? `file ${library} is not owned by any package\n` : line(owner);
        });
        return { exitCode: said.filter((one) => one.startsWith('file ')).length, stdout: said.join('') };
      },
    });
    host.put(PROGRAM, '\x7fELF');
    return host;
  };
  const files = [
    { component: 'hello', path: PROGRAM, mode: 0o755 as const, sha256: Sha256.parse('0'.repeat(64)) },
  ];
  const asked = (host: Rooted): number => host.commands.filter((one) => one.startsWith('rpm -qf')).length;

  it('is all of them where no installed program loads their libraries, told by one start of rpm', async () => {
    const host = node(['/lib64/libc.so.6', '/opt/own/libown.so.1']);
    const { erase, kept } = await findErasable(host, [GCC, ATOMIC], files);
    expect(erase.map(({ name }) => name)).toEqual(['gcc', 'libatomic']);
    expect(kept).toEqual([]);
    expect(asked(host)).toBe(1);
  });

  it('is not what a program loads', async () => {
    const host = node(['/lib64/libc.so.6', '/lib64/libatomic.so.1']);
    const { erase, kept } = await findErasable(host, [GCC, ATOMIC], files);
    expect(erase.map(({ name }) => name)).toEqual(['gcc']);
    expect(kept).toEqual([{ nevra: ATOMIC, because: `${PROGRAM} loads it` }]);
  });

  it('is nothing while rpm does not say whose the libraries are', async () => {
    const host = node(['/lib64/libc.so.6', '/lib64/libatomic.so.1'], true);
    await expect(findErasable(host, [GCC, ATOMIC], files)).rejects.toMatchObject({
      code: 'RPM_NO_ANSWER',
      details: ['error: cannot open Packages database'],
    });
  });
});
