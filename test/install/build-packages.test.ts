import { describe, expect, it } from 'vitest';
import { eraseBuildPackages } from '../../src/install/build-packages.js';
import { openJournal } from '../../src/install/journal.js';
import { rootedHost } from '../host/rooted.js';

const GONE = 'libatomic-4.8.5-28.el7.x86_64';

describe('packages that only the build needed', () => {
  const erase = async (candidates: string[]): Promise<string[]> => {
    const host = rootedHost({
      answer: ([program, word]) =>
        program === 'rpm' && word === '-qa' ? { stdout: 'glibc\t0\t2.17\t222.el7\tx86_64\n' } : {},
    });
    await eraseBuildPackages(host, openJournal(host, 'r1'), candidates, []);
    return host.commands.filter((line) => line === '/sbin/ldconfig');
  };

  it('are out of the cache of the loader, also where a killed rpm came to their files and not to their %postun', async () => {
    expect(await erase([GONE])).toHaveLength(1);
  });
  it('and it is not made anew where none has gone', async () => {
    expect(await erase([])).toEqual([]);
  });
});
