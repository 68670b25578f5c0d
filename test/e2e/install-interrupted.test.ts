import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { makeShim } from '../faults/stage.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer, withDyingRpm } from './install-lab.js';

/** What a test holds up: a %post or a build waits while this file is there. */
const HOLD = '/var/tmp/hold';
const UID = 47_801;
const BUILD_HELD = `echo building; while [ -e ${HOLD} ]; do sleep 0.1; done; printf '#!/bin/sh\\necho hello\\n' >hello\n`;

describe('an installation that is interrupted', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let heldPost: MadeBundle;
  let heldBuild: MadeBundle;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    const slow = pack.rpm({
      name: 'slow',
      post: `echo begun >/var/lib/slow.begun; while [ -e ${HOLD} ]; do sleep 0.1; done; echo done >/var/lib/slow.done`,
    });
    const other = pack.rpm({ name: 'other', requires: 'slow' });
    heldPost = await pack.pack({ rpms: [slow, other] });
    heldBuild = await pack.pack({
      source: { 'build.sh': BUILD_HELD },
      version: '1.0.1',
      sequence: 2,
    });
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.reset();
    await op.sh(`: >${HOLD}; chmod 644 ${HOLD}`);
  });

  /** install.sh in a session of its own, as in a terminal: its process group is in /run/group. */
  const begin = (folder: string): Promise<Outcome> =>
    op.sh(
      `setsid -w sh -c 'echo $$ >/run/group; cd ${folder} && exec sh install.sh --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y'`,
    );
  const release = (): Promise<Outcome> => op.sh(`rm -f ${HOLD}`);
  const until = async (text: string): Promise<void> => {
    for (let round = 0; round < 200; round += 1) {
      if ((await op.sh(text)).exitCode === 0) return;
      await sleep(100);
    }
    throw new Error(`never true: ${text}`);
  };
  const begunPost = (): Promise<void> => until('test -e /var/lib/slow.begun');
  const begunBuild = (): Promise<void> => until('grep -q building /var/log/airbundle/build-hello.log');
  const processesOfBuild = (): Promise<string> => op.sh(`ps -o args= -U ${UID}`).then((done) => done.stdout);
  /** Everything of an installation that ended well. */
  const installed = async (): Promise<void> => {
    const seen = await op.sh(
      [
        'hello; cat /usr/local/share/hello/greeting',
        'ls -A /var/lib/airbundle/stage /var/lib/airbundle/build',
        'find /usr /etc -name "*airbundle-new*"',
        'tail -n 1 /var/lib/airbundle/journal.ndjson | grep -o committed',
        'airbundle status | tail -n 1',
      ].join('; '),
    );
    expect(seen.stdout).toBe(
      'hello\ngreeting\n/var/lib/airbundle/build:\n\n/var/lib/airbundle/stage:\ncommitted\nall is well',
    );
    expect(await processesOfBuild()).toBe('');
  };
  const nothingOfIt = async (): Promise<void> => {
    const seen = await op.sh(
      'ls -d /usr/local/bin/hello /usr/local/share/hello /etc/airbundle /usr/libexec/airbundle /usr/sbin/airbundle /usr/sbin/bundle 2>/dev/null; ls -A /var/lib/airbundle/stage /var/lib/airbundle/build',
    );
    expect(seen.stdout).toBe('/var/lib/airbundle/build:\n\n/var/lib/airbundle/stage:');
    expect(await processesOfBuild()).toBe('');
  };

  it('Ctrl-C while rpm runs: rpm is let finish, the rest is undone, the same command goes on', async () => {
    const folder = await op.carry(heldPost);
    const running = begin(folder);
    await begunPost();
    await op.sh('kill -INT -$(cat /run/group)');
    await sleep(500);
    await release();
    const done = await running;
    expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('error[INTERRUPTED]')]);
    expect(done.stderr).toContain('Undone: ');
    expect((await op.sh('cat /var/lib/slow.done; rpm -q slow other')).stdout).toBe(
      'done\nslow-1.0-1.el7.noarch\nother-1.0-1.el7.noarch',
    );
    await nothingOfIt();
    const again = await op.first(folder);
    expect([again.exitCode, again.stderr]).toEqual([0, expect.not.stringContaining('install 2 RPMs')]);
    await installed();
  });

  it('Ctrl-C while it builds: the build ends at once, everything is undone, the same command goes on', async () => {
    const folder = await op.carry(heldBuild);
    const running = begin(folder);
    await begunBuild();
    const startMs = performance.now();
    await op.sh('kill -INT -$(cat /run/group)');
    const done = await running;
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('error[INTERRUPTED]')]);
    await nothingOfIt();
    await release();
    expect((await op.first(folder)).exitCode).toBe(0);
    await installed();
  });

  it('a terminal that goes away ends it the same way, although nobody reads what it says', async () => {
    const folder = await op.carry(heldBuild);
    const running = op.sh(
      `setsid -w sh -c 'echo $$ >/run/group; cd ${folder} && exec sh install.sh --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y 2>&1 | head -n 3'`,
    );
    await begunBuild();
    await op.sh("kill -HUP $(pgrep -f '[i]nstaller.cjs install')");
    await running;
    await until('! pgrep -f "[i]nstaller.cjs install"');
    await nothingOfIt();
    await release();
    expect((await op.first(folder)).exitCode).toBe(0);
    await installed();
  });

  it('kill -9 of everything during a %post: the package is installed again', async () => {
    const folder = await op.carry(heldPost);
    const running = begin(folder);
    await begunPost();
    // The whole of it, rpm and the scriptlet too, as a power cut would.
    await op.sh(`kill -KILL -$(cat /run/group) $(pgrep -x rpm) $(pgrep -f 'rpm-tmp|slow.done')`);
    await running;
    expect((await op.sh('rpm -q slow; rpm -V slow; ls /var/lib/slow.done')).stdout).toBe(
      'slow-1.0-1.el7.noarch',
    );
    await release();
    const again = await op.first(folder);
    expect([again.exitCode, again.stdout]).toEqual([0, expect.stringContaining('+ slow-1.0-1.el7.noarch')]);
    expect(again.stdout).toContain('an earlier run was ended before it was done');
    expect((await op.sh('cat /var/lib/slow.done; rpm -q slow other')).stdout).toBe(
      'done\nslow-1.0-1.el7.noarch\nother-1.0-1.el7.noarch',
    );
    await installed();
  });

  describe('an rpm that is killed while it unpacks a package', () => {
    const PLACE = '/usr/share/slow';
    const SHIM = '/opt/shim.so';
    /** What is there of the package, with rpm's temporary name of what it was writing. */
    const there = (): Promise<string> =>
      op.sh(`cd ${PLACE} && ls -A | sed -E 's/[0-9a-f]{8}$/HEX/'; rpm -q slow`).then((done) => done.stdout);
    let folder: string;
    beforeAll(() => lab.copyIn('lb1', makeShim(pack.work), SHIM));
    beforeEach(async () => {
      await release();
      const files = { [`${PLACE}/deep/a`]: 'small', [`${PLACE}/aa`]: 'small' };
      const large = { path: `${PLACE}/large`, mib: 4 };
      folder = await op.carry(await pack.pack({ rpms: [pack.rpm({ name: 'slow', files, large })] }));
      const done = await withDyingRpm(op, { shim: SHIM, file: large.path }, () => op.first(folder));
      expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('rpm was ended by SIGKILL')]);
      expect(await there()).toBe('aa\ndeep\nlarge;HEX\npackage slow is not installed');
    });

    it('the same command installs it again, and nothing of the half-written file stays', async () => {
      const again = await op.first(folder);
      expect([again.exitCode, again.stderr]).toEqual([0, expect.anything()]);
      expect(await there()).toBe('aa\ndeep\nlarge\nslow-1.0-1.el7.noarch');
      expect((await op.sh('ls /var/lib/airbundle/unpacking.json')).exitCode).not.toBe(0);
      await installed();
    });

    it('a rollback removes what the package database never knew of, and keeps what somebody put there', async () => {
      await op.sh(`echo mine >${PLACE}/deep/mine`);
      // The command went with the run that failed.
      const back = `cd ${folder} && sh install.sh rollback --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint}`;
      const planned = await op.sh(`${back} --dry-run`);
      expect([planned.stderr, planned.stdout]).toEqual([
        expect.anything(),
        expect.stringContaining(`remove ${PLACE}/deep/a\n`),
      ]);
      const done = await op.sh(`${back} -y`);
      expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
      expect(await there()).toBe('deep\npackage slow is not installed');
      expect((await op.sh(`find ${PLACE} -type f`)).stdout).toBe(`${PLACE}/deep/mine`);
      await op.sh(`rm -r ${PLACE}`);
    });
  });

  it('kill -9 of the installer alone during a %post: the rollback waits for rpm', async () => {
    const folder = await op.carry(heldPost);
    const running = begin(folder);
    await begunPost();
    await op.sh('kill -KILL -$(cat /run/group)');
    await running;
    expect((await op.sh('rpm -q other')).stdout).toBe('package other is not installed');
    const back = op.sh('airbundle rollback -y');
    await until('pgrep -f "[i]nstaller.cjs rollback"');
    await sleep(1500);
    await release();
    const done = await back;
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    expect((await op.sh('rpm -q slow other')).stdout).toBe(
      'package slow is not installed\npackage other is not installed',
    );
    await nothingOfIt();
  });

  it('kill -9 of the installer alone during a %post: the rerun waits for rpm, then does it again', async () => {
    const folder = await op.carry(heldPost);
    const running = begin(folder);
    await begunPost();
    await op.sh('kill -KILL -$(cat /run/group)');
    await running;
    const again = op.first(folder);
    await sleep(1500);
    await release();
    const done = await again;
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    expect((await op.sh('cat /var/lib/slow.done; rpm -q slow other')).stdout).toBe(
      'done\nslow-1.0-1.el7.noarch\nother-1.0-1.el7.noarch',
    );
    await installed();
  });

  it('kill -9 during a build: its processes are ended by the rerun', async () => {
    const folder = await op.carry(heldBuild);
    const running = begin(folder);
    await begunBuild();
    await op.sh('kill -KILL -$(cat /run/group)');
    await running;
    expect(await processesOfBuild()).not.toBe('');
    await release();
    await op.sh(`: >${HOLD}`);
    const again = op.first(folder);
    await sleep(1500);
    await release();
    expect((await again).exitCode).toBe(0);
    await installed();
  });

  it('kill -9 at any moment: the same command ends in the same state', async () => {
    await release();
    const folder = await op.carry(heldPost);
    for (const afterMs of [300, 600, 900, 1100, 1300, 1600, 1900]) {
      await op.reset();
      await op.carry(heldPost);
      const running = begin(folder);
      await sleep(afterMs);
      await op.sh('kill -KILL -$(cat /run/group)');
      await running;
      await until('! pgrep -x rpm');
      const again = await op.first(folder);
      expect([afterMs, again.exitCode, again.stderr]).toEqual([afterMs, 0, expect.anything()]);
      await installed();
    }
  });

  it('keeps a build from everybody else, and everybody else from the build', async () => {
    await release();
    const spy = [
      'for place in /var/lib/airbundle/stage /var/lib/airbundle/backup /var/log/airbundle /var/lib/airbundle/journal.ndjson /root; do',
      '  if ls "$place"/* >/dev/null 2>&1 || cat "$place" >/dev/null 2>&1; then echo "$place can be read" >&2; exit 1; fi',
      'done',
      'mkdir -m 700 /var/lib/airbundle/build/other-place 2>/dev/null && exit 1',
      'env | sort >environment; umask >>environment; echo "$TMPDIR" | grep -q ^/var/lib/airbundle/build/hello/ || exit 1',
      "setsid sh -c 'sleep 300' & setsid sh -c 'exec >/dev/null 2>&1; sleep 300' & ( ( sleep 300 & ) )",
      "printf '\\033[31mred\\033[0m\\a\\n'; head -c 3000000 /dev/zero | tr '\\0' x; echo",
      "printf '#!/bin/sh\\necho hello\\n' >hello",
      "cp environment hello.environment; grep -E '^(PATH|HOME|LC_ALL|TZ|TERM|TMPDIR|PWD|OLDPWD|SHLVL|_|0022)' -v environment && exit 1 || :",
    ].join('\n');
    const folder = await op.carry(await pack.pack({ source: { 'build.sh': spy } }));
    const startMs = performance.now();
    const done = await op.first(folder);
    expect([done.exitCode, done.stderr]).toEqual([0, expect.not.stringContaining('\u001B[31m')]);
    expect(performance.now() - startMs).toBeLessThan(30_000);
    expect(
      (await op.sh('stat -c "%a %s" /var/log/airbundle/build-hello.log; find / -xdev -uid 47801')).stdout,
    ).toMatch(/^600 300\d{4}$/);
    await installed();
  });
});
