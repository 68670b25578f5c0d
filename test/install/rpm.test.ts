import { describe, expect, it } from 'vitest';
import { requireFound, requireSoundDatabase } from '../../src/install/rpm-database.js';
import {
  installedPackages,
  installPackages,
  ownersOf,
  parsePackages,
  parseProblems,
  speaksOf,
  testTransaction,
} from '../../src/install/rpm.js';
import { isLockedOut } from '../../src/install/rpm-locks.js';
import type { RpmAllowances, RpmPlan } from '../../src/install/rpm-plan.js';
import { planRpms } from '../../src/install/rpm-plan.js';
import { formatNevra } from '../../src/model/nevra.js';
import { rootedHost } from '../host/rooted.js';
import { nevra, rpm } from './facts.js';

const NONE: RpmAllowances = { upgrade: false, protectedNames: [] };
const shown = (plan: RpmPlan) => ({
  missing: plan.missing.map((one) => formatNevra(one.nevra)),
  same: plan.same.map((one) => formatNevra(one.nevra)),
  newer: plan.newer.map((one) => formatNevra(one.installed)),
  older: plan.older.map((one) => formatNevra(one.installed)),
});
const plan = (bundled: string, installed: string[], unfinished: string[] = [], allow = NONE): RpmPlan =>
  planRpms([rpm(bundled)], installed.map(nevra), allow, new Set(unfinished));

describe('the RPMs of a bundle, compared with the rpmdb', () => {
  it.each([
    ['is not there', 'a-1-1.x86_64', [], 'missing'],
    ['is there', 'a-1-1.x86_64', ['a-1-1.x86_64'], 'same'],
    ['is there newer', 'a-1-1.x86_64', ['a-1-2.x86_64'], 'newer'],
    ['is there older', 'a-2-1.x86_64', ['a-1-9.x86_64'], 'older'],
    ['is there with a higher epoch', 'a-9-1.x86_64', ['a-1:1-1.x86_64'], 'newer'],
    ['is there for another architecture only', 'a-1-1.x86_64', ['a-1-1.i686'], 'missing'],
    ['was of one architecture and is noarch now', 'a-2-1.noarch', ['a-1-1.x86_64'], 'older'],
    ['was noarch and is of one architecture now', 'a-1-1.x86_64', ['a-1-1.noarch'], 'same'],
    ['is there in two versions, one of them this', 'a-2-1.x86_64', ['a-1-1.x86_64', 'a-2-1.x86_64'], 'same'],
    ['is there in two older versions', 'a-3-1.x86_64', ['a-1-1.x86_64', 'a-2-1.x86_64'], 'older'],
    ['is there in two versions around this', 'a-2-1.x86_64', ['a-1-1.x86_64', 'a-3-1.x86_64'], 'newer'],
    ['has a name that only begins like an installed one', 'a-1-1.x86_64', ['a-devel-1-1.x86_64'], 'missing'],
  ])('one that %s', (_, bundled, installed, where) => {
    const found = shown(plan(bundled, installed));
    for (const [name, list] of Object.entries(found))
      expect([name, list.length]).toEqual([name, name === where ? 1 : 0]);
  });

  it('of an unfinished step goes in again, although it looks whole', () => {
    expect(shown(plan('a-1-1.x86_64', ['a-1-1.x86_64'], ['a-1-1.x86_64'])).missing).toEqual(['a-1-1.x86_64']);
    // Another version that was unfinished once is none of this bundle's.
    expect(shown(plan('a-2-1.x86_64', ['a-2-1.x86_64'], ['a-1-1.x86_64'])).same).toEqual(['a-2-1.x86_64']);
  });

  it('of an unfinished upgrade, killed before the old version was removed, is upgraded again', () => {
    const both = ['a-1-1.x86_64', 'a-2-1.x86_64'];
    expect(shown(plan('a-2-1.x86_64', both, ['a-2-1.x86_64'])).older).toEqual(['a-1-1.x86_64']);
  });

  it('that is there twice is refused, unless an unfinished step left it so or it is a kernel', () => {
    const both = ['a-1-1.x86_64', 'a-2-1.x86_64'];
    expect(plan('a-2-1.x86_64', both).refusals).toEqual([
      expect.stringContaining('the rpm database holds a-1-1.x86_64 and a-2-1.x86_64'),
    ]);
    expect(plan('b-2-1.x86_64', both).refusals).toEqual([]);
    expect(plan('a-1-1.x86_64', ['a-1-1.x86_64', 'a-1-1.i686']).refusals).toEqual([]);
    const up = { upgrade: true, protectedNames: [] };
    expect(plan('a-2-1.x86_64', both, ['a-2-1.x86_64'], up).refusals).toEqual([]);
    const kernels = ['kernel-devel-1-1.x86_64', 'kernel-devel-2-1.x86_64'];
    expect(plan('kernel-devel-2-1.x86_64', kernels).refusals).toEqual([]);
  });

  it('replaces an older one only when allowed, and a protected one only by name', () => {
    expect(plan('a-2-1.x86_64', ['a-1-1.x86_64']).refusals).toEqual([
      expect.stringContaining('(--allow-upgrade)'),
    ]);
    const up = { upgrade: true, protectedNames: [] };
    expect(plan('a-2-1.x86_64', ['a-1-1.x86_64'], [], up).refusals).toEqual([]);
    expect(plan('glibc-2-1.x86_64', ['glibc-1-1.x86_64'], [], up).refusals).toEqual([
      expect.stringContaining('--allow-protected glibc'),
    ]);
    expect(plan('glibc-2-1.x86_64', []).refusals).toHaveLength(1);
    expect(plan('glibc-devel-2-1.x86_64', []).refusals).toEqual([]);
    expect(
      plan('glibc-2-1.x86_64', ['glibc-1-1.x86_64'], [], { upgrade: true, protectedNames: ['glibc'] })
        .refusals,
    ).toEqual([]);
    expect(plan('glibc-1-1.x86_64', ['glibc-2-1.x86_64']).refusals).toEqual([]);
  });
});

describe('what rpm says', () => {
  it('is read without headings, warnings and progress, each problem once', () => {
    const text = [
      'warning: /s/a.rpm: Header V3 RSA/SHA256 Signature, key ID f4a80eb5: NOKEY',
      'error: Failed dependencies:',
      '\tlibfoo.so.1()(64bit) is needed by a-1-1.x86_64',
      '\ta < 2 conflicts with b-1-1.x86_64',
      'Preparing...                          ########################################',
      '\tfile /usr/bin/x from install of a-1-1.x86_64 conflicts with file from package c-1:2-3.el7.x86_64',
      '\tfile /usr/bin/x from install of a-1-1.x86_64 conflicts with file from package c-1:2-3.el7.x86_64',
    ].join('\n');
    expect(parseProblems(text)).toEqual([
      'libfoo.so.1()(64bit) is needed by a-1-1.x86_64',
      'a < 2 conflicts with b-1-1.x86_64',
      'file /usr/bin/x from install of a-1-1.x86_64 conflicts with file from package c-1:2-3.el7.x86_64',
    ]);
  });

  it('is accepted for a package by its exact name', () => {
    const problem =
      'file /usr/bin/x from install of a-1-1.x86_64 conflicts with file from package glibc-devel-1:2.17-222.el7.x86_64';
    expect(['a', 'glibc-devel', 'glibc', 'a-1', 'x86_64'].map((name) => speaksOf(problem, name))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(speaksOf('make is needed by (installed) a-1-1.x86_64', 'make')).toBe(true);
  });

  it('is asked so that packages of an unfinished step may be there', async () => {
    const host = rootedHost({ answer: () => ({}) });
    expect(await testTransaction(host, ['/s/a.rpm'], false)).toEqual([]);
    expect(host.commands).toEqual(['rpm -i --test --replacepkgs /s/a.rpm']);
    const silent = rootedHost({ answer: () => ({ exitCode: 1 }) });
    expect(await testTransaction(silent, ['/s/a.rpm'], true)).toEqual(['rpm --test ended with exit code 1']);
  });

  it('about installed packages is read without keys, with or without epoch', () => {
    expect(
      parsePackages(
        'a\t(none)\t1\t2\tx86_64\nb\t1\t1\t2\tnoarch\ngpg-pubkey\t(none)\tf4a80eb5\t53a7ff4b\t(none)\n',
      ),
    ).toEqual([nevra('a-1-2.x86_64'), nevra('b-1:1-2.noarch')]);
  });

  it('on stderr about its database is believed, whatever it exits with', async () => {
    const stderr =
      'error: bdb error(-30986) from dbcursor->c_get: BDB0075 DB_PAGE_NOTFOUND: Requested page not found\n';
    const host = rootedHost({ answer: () => ({ stdout: 'a\t(none)\t1\t2\tx86_64\n', stderr }) });
    await expect(installedPackages(host)).rejects.toMatchObject({
      code: 'RPMDB_DAMAGED',
      exit: 5,
      details: [stderr.trim()],
    });
    // An rpm that was killed; seen with exit code 1 (rpm 4.16) where nothing can be listed.
    const died =
      'error: rpmdb: BDB0113 Thread/process 6408/140709199722304 failed: BDB1507 Thread died in Berkeley DB library\n' +
      'error: bdb error(-30973) from dbenv->failchk: BDB0087 DB_RUNRECOVERY: Fatal error, run database recovery\n';
    for (const exitCode of [0, 1])
      await expect(
        installedPackages(rootedHost({ answer: () => ({ exitCode, stderr: died }) })),
      ).rejects.toMatchObject({
        code: 'RPMDB_UNREADABLE',
        message: expect.stringContaining('has left its locks') as string,
        hint: expect.stringMatching(
          /rm -f \/var\/lib\/rpm\/__db\.\* && rpm --verifydb\n.*rpm --rebuilddb/,
        ) as string,
      });
    // Data that make no sense to it: seen with a Packages file that was overwritten in its middle.
    const panic =
      'error: rpmdb: BDB0060 PANIC: fatal region error detected; run recovery\n' +
      'error: bdb error(-30973) from dbenv->close: BDB0087 DB_RUNRECOVERY: Fatal error, run database recovery\n';
    await expect(
      installedPackages(rootedHost({ answer: () => ({ exitCode: 1, stderr: panic }) })),
    ).rejects.toMatchObject({
      code: 'RPMDB_UNREADABLE',
      message: expect.stringContaining('or its data are damaged') as string,
      hint: expect.stringContaining('rpm --rebuilddb') as string,
    });
    const missing = rootedHost({ answer: () => ({}) });
    await expect(requireSoundDatabase(missing, 0)).rejects.toMatchObject({ code: 'RPMDB_DAMAGED' });
    const broken = rootedHost({ answer: () => ({ exitCode: 6, stderr: 'error: rpmdb: BDB0090\n' }) });
    await expect(requireSoundDatabase(broken, 3)).rejects.toMatchObject({
      details: ['error: rpmdb: BDB0090'],
    });
  });

  it('about its lock is somebody else at work, or a disk that does not take its file', async () => {
    const said = "error: can't create transaction lock on /var/lib/rpm/.rpm.lock";
    expect(isLockedOut(`${said} (Resource temporarily unavailable)\n`)).toBe(true);
    expect(isLockedOut(`${said} (No space left on device)\n`)).toBe(false);
    // Seen in the fault campaign: it was waited for 10 minutes, for nobody.
    const stderr = `${said} (No space left on device)\n`;
    const full = rootedHost({ answer: () => ({ exitCode: 1, stderr }) });
    full.put('/var/log/airbundle/x', '');
    const run = { upgrade: false, onProgress: () => undefined, onWait: () => undefined, stop: () => false };
    await expect(installPackages(full, ['/s/a.rpm'], run)).rejects.toMatchObject({
      code: 'RPM_FAILED',
      details: expect.arrayContaining([stderr.trim()]) as string[],
    });
  });

  it('that lists a package and does not find it by its name is damaged', async () => {
    // rpm was killed while it wrote; seen with rpm 4.16.
    const stdout = 'other-1-1.noarch\npackage mini-lib-1.0-1.el7.noarch is not installed\n';
    const host = rootedHost({ answer: () => ({ exitCode: 1, stdout }) });
    await expect(requireFound(host, ['other-1-1.noarch', 'mini-lib-1.0-1.el7.noarch'])).rejects.toMatchObject(
      {
        code: 'RPMDB_DAMAGED',
        exit: 5,
        details: ['package mini-lib-1.0-1.el7.noarch is not installed'],
        hint: expect.stringContaining('rpm --rebuilddb') as string,
      },
    );
    expect(host.commands).toEqual(['rpm -q other-1-1.noarch mini-lib-1.0-1.el7.noarch']);
    await requireFound(host, []);
  });

  it.each([
    ['a failed %post, exit code 0', 0, 'warning: %post(a-1-1.x86_64) scriptlet failed, exit status 1'],
    ['an exit code that has wrapped', 0, 'error: unpacking of archive failed: cpio: Bad magic'],
    ['a plain failure', 1, 'something'],
  ])('fails the step: %s', async (_, exitCode, stdout) => {
    const host = rootedHost({ answer: () => ({ exitCode, stdout: `${stdout}\n` }) });
    host.put('/var/log/airbundle/x', '');
    const run = { upgrade: false, onProgress: () => undefined, onWait: () => undefined, stop: () => false };
    await expect(installPackages(host, ['/s/a.rpm'], run)).rejects.toMatchObject({
      code: 'RPM_FAILED',
      exit: 6,
      details: expect.arrayContaining([stdout]) as string[],
      message: expect.stringContaining('/var/log/airbundle/rpm-install.log') as string,
    });
  });
});

describe('the owners of paths', () => {
  const owned: Readonly<Record<string, string>> = { '/etc/passwd': 'setup', '/usr/bin/env': 'coreutils' };
  /** rpm -qf as 4.11 and 4.16 answer it: an owner's line does not say of which path. */
  const host = () =>
    rootedHost({
      answer: ([program, verb, , , ...paths]) => {
        if (program !== 'rpm' || verb !== '-qf') return undefined;
        const free = paths.filter((path) => owned[path] === undefined);
        return {
          exitCode: free.length,
          stdout: paths
            .filter((path) => !path.startsWith('/gone'))
            .map((path) => `${owned[path] ?? `file ${path} is not owned by any package`}\n`)
            .join(''),
          stderr: free
            .filter((path) => path.startsWith('/gone'))
            .map((path) => `error: file ${path}: No such file or directory\n`)
            .join(''),
        };
      },
    });

  it('take one start of rpm where nobody owns them', async () => {
    const one = host();
    expect(await ownersOf(one, ['/etc/a', '/etc/b', '/gone/c'])).toEqual(new Map());
    expect(one.commands).toHaveLength(1);
  });

  it('are asked about one by one where somebody does, and only these', async () => {
    const one = host();
    const found = await ownersOf(one, ['/etc/a', '/etc/passwd', '/gone/c', '/usr/bin/env']);
    expect(found).toEqual(new Map(Object.entries(owned)));
    expect(one.commands).toHaveLength(3);
  });

  it('are nobody without a path, and without a question', async () => {
    const one = host();
    expect(await ownersOf(one, [])).toEqual(new Map());
    expect(one.commands).toEqual([]);
  });
});
