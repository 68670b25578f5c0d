import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { renewRpmdb } from '../lab/rpmdb.js';
import { makeShim } from '../faults/stage.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer, withDyingRpm } from './install-lab.js';

/*
 * rpm puts all new versions in, then takes the old ones out, the last one first: killed in between, both versions of a
 * package are in its database, or one package is new while another is old.
 */

const OLD_RPMS = '/root/old-rpms';
const HOLD = '/var/tmp/hold';
/** rpm is a while at it, behind the other files of its package. */
const LARGE = '/usr/share/last-large';
const SHIM = '/opt/shim.so';
const BEGUN = '/var/tmp/begun';

/** A scriptlet that waits for as long as it is held. */
const held = (name: string): string =>
  `if [ -e ${HOLD}-${name} ]; then : >${BEGUN}; while [ -e ${HOLD}-${name} ]; do sleep 0.1; done; fi`;

const PLACES = [
  { place: 'before the first package', scriptlet: 'pre', both: false },
  { place: 'both versions of the first package there', scriptlet: 'post', both: true },
  { place: 'between two packages', scriptlet: 'last-pre', both: false },
  { place: 'while an old version goes', scriptlet: 'last-postun', both: true },
  { place: 'before the last old version goes', scriptlet: 'preun', both: true },
  { place: 'while the last old version goes', scriptlet: 'postun', both: true },
] as const;

describe('an upgrade of packages in which everything is killed', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let bundle: MadeBundle;
  let clean: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    const shared = (version: string): ReturnType<Packer['rpm']> =>
      pack.rpm({
        name: 'shared',
        version,
        files: { '/usr/share/shared': `shared ${version}`, [`/usr/share/shared-${version}`]: version },
        ...(version === '1.0'
          ? { preun: held('preun'), postun: held('postun') }
          : { pre: held('pre'), post: held('post'), preun: held('down') }),
      });
    const last = (version: string): ReturnType<Packer['rpm']> =>
      pack.rpm({
        name: 'last',
        version,
        requires: `shared = ${version}`,
        files: { '/usr/share/last': `last ${version}`, [`/usr/share/last-${version}`]: version },
        ...(version === '1.0' ? {} : { large: { path: LARGE, mib: 4 } }),
        ...(version === '1.0' ? { postun: held('last-postun') } : { pre: held('last-pre') }),
      });
    await renewRpmdb(lab, 'lb1');
    await op.sh(`mkdir -p ${OLD_RPMS}`);
    for (const { file } of [shared('1.0'), last('1.0')]) await lab.copyIn('lb1', file, OLD_RPMS);
    await op.sh(`rpm -i --nosignature ${OLD_RPMS}/*.rpm`);
    await lab.copyIn('lb1', makeShim(pack.work), SHIM);
    bundle = await pack.pack({ rpms: [shared('2.0'), last('2.0')] });
    clean = await state();
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.reset();
    await op.sh(
      `rm -f ${HOLD}-* ${BEGUN}; rpm -e --justdb --noscripts --allmatches shared last; rm -f /usr/share/shared* /usr/share/last*; rpm -i --nosignature ${OLD_RPMS}/*.rpm`,
    );
    expect(await state()).toBe(clean);
  });

  const state = async (): Promise<string> =>
    (
      await op.sh(
        [
          'rpm -qa | sort; rpm -V shared last',
          "find /etc /usr /opt -xdev -type f -printf '%p %m %u:%g %s\\n' | sort",
          'cat /usr/share/shared* /usr/share/last /usr/share/last-?.0',
        ].join('; '),
      )
    ).stdout;

  const typed = (words: string): string =>
    `cd /media/usb/${bundle.stem} && sh install.sh ${words} --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y`;
  const INSTALL = '--allow-upgrade';
  const BACK = `rollback --old-rpms ${OLD_RPMS}`;

  /** Ends when everything of the command is dead. */
  const killedAt = async (scriptlet: string, words = INSTALL): Promise<void> => {
    await op.carry(bundle);
    await op.sh(`: >${HOLD}-${scriptlet}`);
    const running = op.sh(
      `echo '${typed(words)}' >/run/typed; setsid -w sh -c 'echo $$ >/run/group; . /run/typed'`,
    );
    let begun = false;
    for (let round = 0; round < 200 && !begun; round += 1) {
      await sleep(100);
      begun = (await op.sh(`test -e ${BEGUN}`)).exitCode === 0;
    }
    expect(begun).toBe(true);
    await op.sh(`kill -KILL -$(cat /run/group) $(pgrep -x rpm) $(pgrep -f 'rpm-tmp|${HOLD}')`);
    expect((await running).exitCode).not.toBe(0);
    await op.sh(`rm -f ${HOLD}-*`);
  };
  /** A Berkeley database in which an rpm died is refused, with what to type before the same command. */
  const heeding = async (words: string): Promise<Outcome> => {
    const first = await op.sh(typed(words));
    const advice = /^ *(cp -a \/var\/lib\/rpm .*)$/m.exec(first.stderr)?.[1];
    if (first.exitCode !== 5 || advice === undefined) return first;
    expect((await op.sh(`rm -rf /root/rpmdb.damaged; ${advice}`)).exitCode).toBe(0);
    return op.sh(typed(words));
  };
  const versions = async (name: string): Promise<string> =>
    (await op.sh(`rpm -q --qf '%{VERSION} ' ${name}`)).stdout.trim();

  const killedWhileUnpacking = async (): Promise<void> => {
    await op.carry(bundle);
    const done = await withDyingRpm(op, { shim: SHIM, file: LARGE }, () => op.sh(typed(INSTALL)));
    expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('rpm was ended by SIGKILL')]);
    expect([await versions('last'), (await op.sh('cat /usr/share/last')).stdout]).toEqual([
      '1.0',
      'last 2.0',
    ]);
  };
  const isUpgraded = async (): Promise<void> => {
    expect([await versions('shared'), await versions('last')]).toEqual(['2.0', '2.0']);
    expect((await op.sh('rpm -V shared last; cat /usr/share/shared* /usr/share/last-?.0')).stdout).toBe(
      'shared 2.0\n2.0\n2.0',
    );
    expect((await op.sh('ls /usr/share | grep ";"; airbundle status | tail -n 1')).stdout).toBe(
      'all is well',
    );
  };

  it('while a new version is unpacked: the same command ends as if nothing had been', async () => {
    await killedWhileUnpacking();
    const again = await heeding(INSTALL);
    expect([again.exitCode, again.stderr]).toEqual([0, expect.anything()]);
    await isUpgraded();
  });

  it('while a new version is unpacked: a rollback gives the old packages back', async () => {
    await killedWhileUnpacking();
    const done = await heeding(BACK);
    expect([done.exitCode, done.stderr]).toEqual([0, expect.not.stringContaining('warning: ')]);
    expect(await state()).toBe(clean);
  });

  it('while a new version is unpacked: a rollback without the old RPM says of which package there is something of both', async () => {
    await killedWhileUnpacking();
    const done = await heeding('rollback');
    expect([done.exitCode, done.stderr]).toEqual([
      0,
      expect.stringContaining(
        'last-2.0-1.el7.noarch stays, it was last-1.0-1.el7.noarch: its old RPM is not at hand (now: --old-rpms FOLDER; later only by hand: rpm -Uvh --oldpackage FILE); an rpm was killed between the two, and there is something of both',
      ),
    ]);
  });

  it.each(PLACES)('$place: the same command ends as if nothing had been', async ({ scriptlet, both }) => {
    await killedAt(scriptlet);
    const name = scriptlet.startsWith('last') ? 'last' : 'shared';
    expect((await versions(name)).split(' ').length).toBe(both ? 2 : 1);
    const again = await heeding(INSTALL);
    expect([again.exitCode, again.stderr]).toEqual([0, expect.anything()]);
    await isUpgraded();
  });

  it.each(PLACES)('$place: a rollback gives the old packages back', async ({ scriptlet }) => {
    await killedAt(scriptlet);
    const done = await heeding(BACK);
    expect([done.exitCode, done.stderr]).toEqual([0, expect.not.stringContaining('warning: ')]);
    expect(await state()).toBe(clean);
  });

  it('and so goes a rollback that was killed between the two versions', async () => {
    await op.carry(bundle);
    const done = await op.sh(typed(INSTALL));
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    await isUpgraded();
    await killedAt('down', BACK);
    expect((await versions('shared')).split(' ').length).toBe(2);
    const again = await heeding(BACK);
    expect([again.exitCode, again.stderr]).toEqual([0, expect.not.stringContaining('warning: ')]);
    expect(await state()).toBe(clean);
  });
});
