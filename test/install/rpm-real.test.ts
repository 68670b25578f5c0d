import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { BundleError } from '../../src/errors.js';
import type { Host } from '../../src/host/host.js';
import { localHost } from '../../src/host/local.js';
import type { Argv } from '../../src/host/process.js';
import { installedPackages, installPackages, requirePackages } from '../../src/install/rpm.js';
import type { RpmRun } from '../../src/install/rpm.js';
import { makePlan } from '../../src/install/plan.js';
import { tryPackages, withTrial } from '../../src/install/rpm-trial.js';
import { applyRpms } from '../../src/install/steps/rpms.js';
import { Sha256 } from '../../src/model/grammar.js';
import { formatNevra } from '../../src/model/nevra.js';
import type { Step } from '../../src/report.js';
import { target } from '../../src/model/layout.js';
import { temporaryFolder } from '../host/rooted.js';
import { skipUnless } from '../support/skip.js';
import { bundledRpm, sha256Of } from './bundle.js';
import { nevra, planRequest, someContents, someFacts } from './facts.js';

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;

/* The rpm of this machine, with a database of its own. The packages hold scriptlets and no files. */
describe('a real rpm', () => {
  skipUnless(process.getuid?.() === 0 && has('rpm') && has('rpmbuild'), 'rpm, rpmbuild and root are needed');

  let work: string;
  let database: string;
  let host: Host;
  beforeEach(() => {
    work = temporaryFolder();
    database = path.join(work, 'db');
    mkdirSync(database);
    mkdirSync(path.join(work, 'log'));
    const real = localHost();
    const own = (argv: Argv): Argv => {
      const [program, ...words] = argv;
      return program === 'rpm' ? ['rpm', '--dbpath', database, ...words] : argv;
    };
    const at = (file: string): string =>
      file
        .replace(target.log, path.join(work, 'log'))
        .replace(target.unpacking, path.join(work, 'unpacking.json'));
    host = {
      ...real,
      run: (argv, options) => real.run(own(argv), options),
      runLogged: (argv, log, options) => real.runLogged(own(argv), at(log), options),
      read: (file) => real.read(at(file)),
      remove: (file) => real.remove(at(file)),
      writeDurable: (file, data, options) => real.writeDurable(at(file), data, options),
    };
  });

  const build = (name: string, version: string, scriptlets = '', tags: readonly string[] = []): string => {
    const folder = path.join(work, `${name}-${version}`);
    mkdirSync(folder);
    const head = `Name: ${name}\nVersion: ${version}\nRelease: 1\nSummary: a test\nLicense: MIT\nBuildArch: noarch\nAutoReqProv: no\n${tags.map((tag) => `${tag}\n`).join('')}`;
    writeFileSync(path.join(folder, 'x.spec'), `${head}%description\nA test.\n${scriptlets}\n%files\n`);
    const define = ['--define', `_topdir ${folder}`, '--define', '_binary_payload w9.gzdio'];
    execFileSync('rpmbuild', ['-bb', '--quiet', ...define, path.join(folder, 'x.spec')], { stdio: 'pipe' });
    return path.join(folder, `RPMS/noarch/${name}-${version}-1.noarch.rpm`);
  };
  const runOf = (given: Partial<RpmRun> = {}): RpmRun => ({
    upgrade: false,
    onProgress: () => undefined,
    onWait: () => undefined,
    stop: () => false,
    ...given,
  });
  const failure = async (working: Promise<unknown>): Promise<BundleError> => {
    try {
      await working;
    } catch (error) {
      expect(error).toMatchObject({ exit: 6 });
      return error as BundleError;
    }
    throw new Error('it went through');
  };
  const there = async (): Promise<string[]> => (await installedPackages(host)).map(formatNevra).sort();

  it(
    'whose %post hangs is not waited for without end, and goes on with the rest',
    { timeout: 60_000 },
    async () => {
      const hung = build('hung', '1', '%post -p /bin/sh\nsleep 987 & sleep 988');
      const next = build('zzz', '1', '%post -p /bin/sh\nexit 0');
      const startMs = performance.now();
      const { code, details } = await failure(
        installPackages(host, [hung, next], runOf({ limits: { quietMs: 1500 } })),
      );
      expect(performance.now() - startMs).toBeLessThan(30_000);
      expect(code).toBe('RPM_FAILED');
      expect(details[0]).toMatch(
        /^a scriptlet printed nothing for 2 s and was ended: process \d+ \(\/bin\/sh \/.*rpm-tmp/,
      );
      expect(details[0]).toContain('(sleep 988)');
      expect(details).toContainEqual(
        expect.stringMatching(/%post\(hung-1-1.noarch\) scriptlet failed, signal 9/),
      );
      expect(details).toContain('in the rpm database now: hung-1-1.noarch, zzz-1-1.noarch');
      // Also what it had put into the background.
      expect(spawnSync('pgrep', ['-f', '^sleep 98[78]$']).stdout.toString()).toBe('');
    },
  );

  it('whose %pre hangs: the package is named as not in', { timeout: 60_000 }, async () => {
    const good = build('good', '1');
    const hung = build('hung', '1', '%pre -p /bin/sh\nsleep 988');
    const { details } = await failure(
      installPackages(host, [good, hung], runOf({ limits: { quietMs: 1500 } })),
    );
    expect(details).toContainEqual(
      expect.stringMatching(/%prein\(hung-1-1.noarch\) scriptlet failed, signal 9/),
    );
    expect(details).toContain('in the rpm database now: good-1-1.noarch');
    expect(details).toContain('not in it: hung-1-1.noarch');
  });

  it('whose %post is slow and prints now and then is left alone', { timeout: 60_000 }, async () => {
    const slow = build('slow', '1', '%post -p /bin/sh\nfor i in 1 2 3 4 5; do echo $i; sleep 0.7; done');
    await installPackages(host, [slow], runOf({ limits: { quietMs: 1500 } }));
    expect(await there()).toEqual(['slow-1-1.noarch']);
  });

  describe('that neither prints nor starts anything', () => {
    /** A stand-in for rpm that does this instead. */
    const instead = (...words: string[]): Host => ({
      ...host,
      runLogged: (argv, log, options) =>
        host.runLogged(argv[0] === 'rpm' ? ['sh', ...words] : argv, log, options),
    });
    const limits = { quietMs: 700 };

    it('and sleeps without being woken is ended: it waits for the locks of one that died', async () => {
      const { code, hint } = await failure(
        installPackages(instead('-c', 'exec sleep 600'), [build('a', '1')], runOf({ limits })),
      );
      expect(code).toBe('RPM_STUCK');
      // The folder that rpm itself names: here the one of this test.
      expect(hint).toContain(`rm -f ${database}/__db.* && rpm --verifydb`);
    });
    it.each([
      ['computes', 'exec perl -e "my \\$end = time + 4; 1 while time < \\$end"'],
      ['is woken now and then', 'exec perl -e "select(undef, undef, undef, 0.1) for 1 .. 35"'],
    ])('and %s is left alone', async (_, text) => {
      await installPackages(instead('-c', text), [build('a', '1')], runOf({ limits }));
    });
  });

  it('that exits 0 although a %post failed: named, with what is in', async () => {
    const bad = build('bad', '1', '%post -p /bin/sh\nexit 3');
    const { message, details } = await failure(installPackages(host, [bad, build('good', '1')], runOf()));
    expect(message).toContain('rpm ended with exit code 0');
    expect(details).toContainEqual(
      expect.stringContaining('%post(bad-1-1.noarch) scriptlet failed, exit status 3'),
    );
    expect(details).toContain('in the rpm database now: bad-1-1.noarch, good-1-1.noarch');
  });

  it('that put a version beside another one: found when the database is read back', async () => {
    await installPackages(host, [build('twice', '1')], runOf());
    await installPackages(host, [build('twice', '2')], runOf());
    expect(await there()).toEqual(['twice-1-1.noarch', 'twice-2-1.noarch']);
    const { code, details } = await failure(requirePackages(host, [nevra('twice-2-1.noarch')]));
    expect(code).toBe('RPM_FAILED');
    expect(details).toEqual([
      expect.stringContaining('the rpm database holds twice-1-1.noarch and twice-2-1.noarch'),
    ]);
  });

  describe('for missing packages and upgrades together', () => {
    /** The plan of a bundle of these packages, for the node as it is. */
    const planned = async (names: readonly string[]) => {
      const rpms = names.map((name) =>
        bundledRpm(nevra(name), `${name.replace(/-1\.noarch$/, '')}/RPMS/noarch/${name}.rpm`),
      );
      const contents = someContents({ rpms });
      const facts = someFacts({ installed: await installedPackages(host) });
      const allow = { upgrade: true, protectedNames: [], takeOver: false };
      const plan = makePlan(planRequest({ contents, facts, allow }));
      return { contents, plan };
    };
    const applied = async ({ contents, plan }: Awaited<ReturnType<typeof planned>>): Promise<void> => {
      const held = contents.members.map((member) => ({
        ...member,
        sha256: member.path.endsWith('.rpm')
          ? Sha256.parse(sha256Of(readFileSync(path.join(work, member.path))))
          : member.sha256,
      }));
      const step = plan.steps.find((one) => one.kind === 'rpms');
      if (step?.kind !== 'rpms') throw new Error('no package goes in');
      const line = { progress: () => undefined, note: () => undefined } as unknown as Step;
      await applyRpms(
        host,
        { contents: { ...contents, members: held }, staged: work, stop: () => false },
        step,
        line,
      );
    };

    it('runs the transaction that it has tried: the two may need each other', async () => {
      await installPackages(host, [build('old', '1')], runOf());
      build('old', '2', '', ['Requires: added']);
      build('added', '1', '', ['Requires: old = 2']);
      const given = await planned(['old-2-1.noarch', 'added-1-1.noarch']);
      const ran: string[] = [];
      const real = host;
      host = {
        ...real,
        run: (argv, options) => {
          if (argv.includes('--test')) ran.push(`try ${argv[1] ?? ''}`);
          return real.run(argv, options);
        },
        runLogged: (argv, log, options) => {
          ran.push(`run ${argv[1] ?? ''}`);
          return real.runLogged(argv, log, options);
        },
      };
      const trial = await tryPackages(host, given.plan, 1, work);
      const plan = withTrial(given.plan, trial, []);
      expect(plan.refusals).toEqual(given.plan.refusals);
      await applied({ ...given, plan });
      expect(ran).toEqual(['try -U', 'run -Uvh']);
      expect(await there()).toEqual(['added-1-1.noarch', 'old-2-1.noarch']);
    });

    it.each([
      ['a missing package', 'b-ng-1-1.noarch'],
      ['an upgrade', 'a-2-1.noarch'],
    ])('refuses %s that obsoletes what is installed', async (_, name) => {
      await installPackages(host, [build('a', '1'), build('b', '1')], runOf());
      build('a', '2', '', name.startsWith('a-') ? ['Obsoletes: b < 2'] : []);
      build('b-ng', '1', '', name.startsWith('b-') ? ['Obsoletes: b < 2'] : []);
      const { plan } = await planned(['a-2-1.noarch', 'b-ng-1-1.noarch']);
      const trial = await tryPackages(host, plan, 2, work);
      const tried = withTrial(plan, trial, ['a', 'b', 'b-ng']);
      expect(tried.refusals.slice(plan.refusals.length)).toEqual([
        expect.stringContaining(`${name} obsoletes b-1-1.noarch`),
      ]);
    });

    it('names what is gone afterwards although the plan leaves it alone', async () => {
      await installPackages(host, [build('a', '1'), build('b', '1')], runOf());
      build('a', '2', '', ['Obsoletes: b < 2']);
      const { code, message } = await failure(applied(await planned(['a-2-1.noarch'])));
      expect(code).toBe('RPM_FAILED');
      expect(message).toContain('b-1-1.noarch');
      expect(await there()).toEqual(['a-2-1.noarch']);
    });
  });

  it(
    'that is at work already is waited for, named, and given up after a limit',
    { timeout: 60_000 },
    async () => {
      const marker = path.join(work, 'begun');
      const go = path.join(work, 'go');
      const busy = build(
        'busy',
        '1',
        `%post -p /bin/sh\ntouch ${marker}; while [ ! -e ${go} ]; do sleep 0.1; done`,
      );
      const other = spawn('rpm', ['--dbpath', database, '-i', '--nodeps', busy], { stdio: 'ignore' });
      const ended = new Promise((resolve) => other.once('exit', resolve));
      onTestFinished(() => {
        // Its folder goes after a failure: it would wait for its file for ever.
        mkdirSync(work, { recursive: true });
        writeFileSync(go, '');
        return ended.then(() => rmSync(work, { recursive: true, force: true }));
      });
      while (!(await localHost().lstat(marker))) await new Promise((resolve) => setTimeout(resolve, 50));

      const mine = build('mine', '1');
      const locked = await failure(installPackages(host, [mine], runOf({ limits: { lockMs: 1000 } })));
      expect(locked.code).toBe('RPM_LOCKED');
      expect(locked.message).toContain(
        `process ${String(other.pid)} (rpm --dbpath ${database} -i --nodeps ${busy})`,
      );
      expect(locked.hint).toContain(`ps -fp ${String(other.pid)}`);

      // Somebody who came between the look and rpm itself: rpm then waits by itself, without having begun.
      const unseen = {
        ...host,
        list: async (folder: string) => (folder.endsWith('/fd') ? [] : host.list(folder)),
      };
      const blocked = await failure(installPackages(unseen, [mine], runOf({ limits: { lockMs: 1000 } })));
      expect(blocked.code).toBe('RPM_LOCKED');

      const waited: unknown[] = [];
      await installPackages(
        host,
        [mine],
        runOf({
          onWait: (occupant) => {
            waited.push(occupant?.pid);
            writeFileSync(go, '');
          },
        }),
      );
      await ended;
      expect(waited[0]).toBe(other.pid);
      expect(await there()).toEqual(['busy-1-1.noarch', 'mine-1-1.noarch']);
    },
  );

  it('of which a yum is at work is waited for', { timeout: 60_000 }, async () => {
    const real = host;
    // A stand-in: a process that is called yum, and its pid file.
    const yum = spawn('sh', ['-c', 'sleep 60', 'yum'], { stdio: 'ignore' });
    host = {
      ...real,
      read: async (file) =>
        file === '/var/run/yum.pid' ? Buffer.from(`${String(yum.pid)}\n`) : real.read(file),
    };
    const ended = new Promise((resolve) => yum.once('exit', resolve));
    const told: string[] = [];
    await installPackages(
      host,
      [build('mine', '1')],
      runOf({
        onWait: (occupant) => {
          told.push(occupant?.command ?? '');
          yum.kill('SIGKILL');
        },
      }),
    );
    await ended;
    expect(told[0]).toBe('sh -c sleep 60 yum');
    expect(readFileSync(path.join(work, 'log/rpm-install.log'), 'utf8')).toContain('mine-1-1');
  });
});
