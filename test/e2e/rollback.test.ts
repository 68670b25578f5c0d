import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import { sha256Of } from '../install/bundle.js';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { say } from '../lab/progress.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';
import { LOAD, pulse } from './pulse.js';

const CONFIG = '/etc/pulse/pulse.conf';
const OLD_RPMS = '/root/old-rpms';
/** Records of the journal from one kill to the next. */
const STEP = 5;

interface Load {
  readonly asked: number;
  readonly failed: number;
  readonly answers: Readonly<Record<string, number>>;
}

describe('going back on a node', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  /** First release; the second changes the configuration only, the third the program and packages too. */
  let one: MadeBundle;
  let two: MadeBundle;
  let three: MadeBundle;
  let broken: MadeBundle;
  let clean: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    const tool = pack.rpm({ name: 'pulse-tool' });
    const library = pack.rpm({ name: 'pulse-library', requires: 'pulse-tool' });
    const oldShared = pack.rpm({ name: 'pulse-shared', version: '1.0' });
    const newShared = pack.rpm({ name: 'pulse-shared', version: '2.0' });
    const outsider = pack.rpm({ name: 'outsider', requires: 'pulse-tool' });
    const first = { version: '1.0.0', sequence: 1, program: 1, rate: 10, rpms: [tool] } as const;
    one = await pack.pack(pulse(first));
    two = await pack.pack(pulse({ ...first, version: '1.1.0', sequence: 2, rate: 20 }));
    const added = { rpms: [tool, library, newShared], program: 2 } as const;
    three = await pack.pack(pulse({ ...added, version: '2.0.0', sequence: 3, rate: 30 }));
    broken = await pack.pack(pulse({ ...added, version: '2.0.1', sequence: 4, rate: 30, broken: true }));
    await op.sh(`mkdir -p ${OLD_RPMS} /root/rpms`);
    await lab.copyIn('lb1', oldShared.file, `${OLD_RPMS}/pulse-shared-1.0-1.el7.noarch.rpm`);
    await lab.copyIn('lb1', outsider.file, '/root/rpms/outsider.rpm');
    await op.sh(`rpm -i --nosignature ${OLD_RPMS}/*.rpm`);
    for (const bundle of [one, two, three, broken]) await op.carry(bundle);
    await op.sh(`cat >${DESK}/load.js <<'EOT'\n${LOAD}EOT`);
    await op.sh(
      `cat >${DESK}/site.yaml <<'EOT'\n${[
        'airbundle-site: 1',
        'name: lab',
        `nodes: [{ name: lb1, address: ${lab.nodes['lb1']!.address}, interface: eth0 }]`,
      ].join('\n')}\nEOT`,
    );
    clean = await state();
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.sh(
      [
        'rm -f /run/load.stop; rpm -e outsider',
        'test ! -x /usr/sbin/airbundle || airbundle rollback -y; test ! -x /usr/sbin/airbundle || airbundle uninstall --purge -y --old-rpms /root/old-rpms',
        'rm -rf /var/lib/airbundle /var/log/airbundle',
      ].join('; '),
    );
    expect(await state()).toBe(clean);
  });

  /** Everything but the copies and times that useradd and userdel leave of their files (docs/guides/operator.md). */
  const state = async (): Promise<string> => {
    const seen = await op.sh(
      [
        'rpm -qa | sort; rpm -Va --nomtime 2>&1 | grep -e pulse -e outsider',
        "find /etc /usr /opt /var/lib/airbundle /var/log/airbundle -xdev -type f ! -path '/etc/*-' -printf '%p %m %u:%g\\n' 2>/dev/null | sort",
        "find /etc /usr /opt -xdev -type f ! -path '/etc/*-' -exec sha256sum {} + | sort",
        "find /etc /usr /opt /var/lib/airbundle /var/log/airbundle -xdev ! -type f -printf '%p %m %u:%g %l\\n' 2>/dev/null | sort",
        'systemctl list-unit-files --no-legend; systemctl --failed --no-legend',
      ].join('; '),
    );
    return seen.stdout;
  };
  /** The same without what a node keeps of its past. */
  const running = async (): Promise<string> =>
    (await state())
      .split('\n')
      .filter((line) => !/\/var\/(?:lib|log)\/airbundle/.test(line))
      .join('\n');
  /** The same without what an uninstall leaves: docs/reference/commands.md. */
  const remembering = async (): Promise<string> =>
    (await state())
      .split('\n')
      .filter((line) => !/^\/var\/lib\/airbundle(?:\/floor\.json|\/receipts(?:\/\S+)?)? /.test(line))
      .join('\n');
  const words = `--site ${DESK}/site.yaml --node lb1 -y`;
  const folder = (bundle: MadeBundle): string => `/media/usb/${bundle.stem}`;
  const first = (bundle: MadeBundle, extra = ''): Promise<Outcome> =>
    op.first(folder(bundle), `${words} ${extra}`);
  const install = (bundle: MadeBundle, extra = ''): Promise<Outcome> =>
    op.sh(`airbundle install ${folder(bundle)} ${words} ${extra}`);
  const done = async (run: Promise<Outcome>): Promise<Outcome> => {
    const ended = await run;
    expect([ended.exitCode, ended.stderr]).toEqual([0, expect.anything()]);
    return ended;
  };
  const digestOf = (bundle: MadeBundle): string =>
    sha256Of(readFileSync(path.join(bundle.folder, `${bundle.stem}.sha256`)));
  const answer = async (): Promise<string> => {
    const node = '/usr/libexec/airbundle/node';
    const script = `require('http').get('http://127.0.0.1:7070', (r) => r.pipe(process.stdout))`;
    return (await op.sh(`${node} -e "${script}"`)).stdout;
  };
  /** Kills the command and what it started once the journal has so many records more. @returns false: it had ended */
  const cutOff = async (command: string, records: number): Promise<boolean> => {
    const cut = await op.sh(`
      count() { wc -l 2>/dev/null </var/lib/airbundle/journal.ndjson || echo 0; }
      end=$(($(count) + ${String(records)}))
      setsid ${command} >/dev/null 2>&1 &
      while [ -e /proc/$!/exe ] && [ "$(count)" -lt "$end" ]; do :; done
      kill -KILL -$! && wait $!
      [ $? = 137 ] || exit 1
      while pgrep -x rpm >/dev/null; do sleep 0.1; done`);
    return cut.exitCode === 0;
  };
  /** A loop of requests while `work` runs. */
  const underLoad = async (work: () => Promise<unknown>): Promise<Load> => {
    await op.sh(`rm -f /run/load.stop; cp /usr/libexec/airbundle/node ${DESK}/node`);
    const load = op.sh(`${DESK}/node ${DESK}/load.js`);
    await sleep(300);
    await work();
    await sleep(300);
    await op.sh(': >/run/load.stop');
    return JSON.parse((await load).stdout) as Load;
  };

  it('leaves the node as it was before the first installation, and the same bundle goes in again', async () => {
    await done(first(one));
    expect(await answer()).toBe('program 1 rate 10');
    const back = await done(op.sh('airbundle rollback -y'));
    expect(back.stdout).toContain('rollback done: no bundle is installed on this node now');
    expect(back.stdout).toContain('erase pulse-tool-1.0-1.el7.noarch');
    expect(await running()).toBe(
      clean
        .split('\n')
        .filter((line) => !/\/var\/(?:lib|log)\/airbundle/.test(line))
        .join('\n'),
    );
    await done(first(one));
    expect(await answer()).toBe('program 1 rate 10');
  });

  it('upgrades and goes back with a reload: not one request fails', async () => {
    await done(first(one));
    const before = await running();
    const load = await underLoad(async () => {
      await done(install(two));
      expect(await answer()).toBe('program 1 rate 20');
      await done(op.sh('airbundle rollback -y'));
    });
    expect(load.failed).toBe(0);
    expect(load.answers['program 1 rate 20']).toBeGreaterThan(0);
    expect(await answer()).toBe('program 1 rate 10');
    expect(await running()).toBe(before);
    expect((await op.sh('airbundle status -o json')).stdout).toContain(digestOf(one));
    await done(install(two));
    expect(await answer()).toBe('program 1 rate 20');
  });

  it('goes back over several releases, with the replaced package, serving until the restart', async () => {
    await done(first(one));
    const before = await running();
    let load = await underLoad(() => done(install(three, '--allow-upgrade')));
    expect(await answer()).toBe('program 2 rate 30');
    say(`upgrade with a restart: ${load.failed} of ${load.asked} requests failed`);
    expect((await op.sh('rpm -q pulse-shared')).stdout).toBe('pulse-shared-2.0-1.el7.noarch');

    const plan = await done(op.sh('airbundle rollback --dry-run'));
    expect(plan.stdout).toContain(
      'one-way: pulse-shared-2.0-1.el7.noarch stays, it was pulse-shared-1.0-1.el7.noarch',
    );
    load = await underLoad(() =>
      done(op.sh(`airbundle rollback --to ${digestOf(one).slice(0, 8)} --old-rpms ${OLD_RPMS} -y`)),
    );
    say(`rollback with a restart: ${load.failed} of ${load.asked} requests failed`);
    expect(load.answers['program 1 rate 10']).toBeGreaterThan(0);
    expect(await running()).toBe(before);
    expect((await op.sh('rpm -q pulse-shared; rpm -V pulse-shared')).stdout).toBe(
      'pulse-shared-1.0-1.el7.noarch',
    );
  });

  it('keeps what was changed by hand aside and names it', async () => {
    await done(first(one));
    await done(install(two));
    await op.sh(`echo '# by hand' >>${CONFIG}`);
    const back = await done(op.sh('airbundle rollback -y'));
    expect(back.stdout).toContain(`put back ${CONFIG} (changed by hand since: kept aside)`);
    const copy = /what was in it: (\S+)/.exec(back.stderr)?.[1] ?? '';
    expect((await op.sh(`cat ${copy}`)).stdout).toMatch(/rate|every 20\n# by hand$/);
    expect((await op.sh(`tail -n 1 ${CONFIG}`)).stdout).toBe('every 10');
  });

  it('uninstall leaves nothing but what was there, what others need and what people changed', async () => {
    await done(first(one));
    await done(install(two));
    await done(install(three, '--allow-upgrade'));
    await op.sh(`rpm -i --nosignature /root/rpms/outsider.rpm; echo '# by hand' >>${CONFIG}`);
    const gone = await done(op.sh(`airbundle uninstall -y --old-rpms ${OLD_RPMS}`));
    expect(gone.stdout).toContain(
      'pulse-tool-1.0-1.el7.noarch is not erased: outsider-1.0-1.el7.noarch needs it',
    );
    expect(gone.stderr).toContain(`${CONFIG} was changed by hand`);
    const copy = /what was in it: (\S+)/.exec(gone.stderr)?.[1] ?? '';
    expect((await op.sh(`tail -n 1 ${copy}`)).stdout).toBe('# by hand');
    expect(
      (await op.sh('rpm -q pulse-tool pulse-library; getent passwd pulse; ls /usr/sbin/airbundle')).stdout,
    ).toBe('pulse-tool-1.0-1.el7.noarch\npackage pulse-library is not installed');
    await op.sh('rpm -e outsider pulse-tool; rm -rf /var/lib/airbundle');
    expect(await state()).toBe(clean);
  });

  it('uninstall after several releases gives the node of before the first', async () => {
    await done(first(one));
    await done(install(three, '--allow-upgrade'));
    await done(op.sh(`airbundle uninstall -y --old-rpms ${OLD_RPMS}`));
    expect(await remembering()).toBe(clean);
    await done(
      op.sh(
        `cd ${folder(three)} && sh install.sh uninstall --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} --purge -y`,
      ),
    );
    expect(await state()).toBe(clean);
  });

  it('a failed run says how its packages go too, and that works', async () => {
    await done(first(one));
    const before = await running();
    const failed = await install(broken, '--allow-upgrade');
    expect([failed.exitCode, failed.stderr]).toEqual([
      6,
      expect.stringContaining('2 packages of this run stay; to take these back too: airbundle rollback'),
    ]);
    expect(await answer()).toBe('program 1 rate 10');
    await done(op.sh(`airbundle rollback -y --old-rpms ${OLD_RPMS}`));
    expect(await running()).toBe(before);
    expect(await answer()).toBe('program 1 rate 10');
  });

  it('a first run that failed is taken back from the folder of the bundle: the command is gone with it', async () => {
    const failed = await op.first(folder(broken), `${words} --allow-upgrade`);
    expect([failed.exitCode, failed.stderr]).toEqual([6, expect.stringContaining('sh install.sh rollback')]);
    expect((await op.sh('rpm -q pulse-tool')).exitCode).toBe(0);
    await done(
      op.sh(
        `cd ${folder(broken)} && sh install.sh rollback --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y --old-rpms ${OLD_RPMS}`,
      ),
    );
    await op.sh('rm -rf /var/lib/airbundle /var/log/airbundle');
    expect(await state()).toBe(clean);
  });

  it('an unfinished run is not gone on with by another bundle or site, only by the same or a rollback', async () => {
    await done(first(one));
    const before = await running();
    const killed = op.sh(
      `setsid -w sh -c 'echo $$ >/run/group; exec airbundle install ${folder(three)} ${words} --allow-upgrade'`,
    );
    for (let round = 0; round < 400; round += 1) {
      const seen = await op.sh(
        'tail -n 1 /var/lib/airbundle/journal.ndjson | grep -e files -e displaced -e configuration',
      );
      if (seen.exitCode === 0) break;
      await sleep(20);
    }
    await op.sh('kill -KILL -$(cat /run/group)');
    expect((await killed).exitCode).not.toBe(0);
    const other = await install(two, '--take-over');
    expect([other.exitCode, other.stderr]).toEqual([5, expect.stringContaining('error[UNFINISHED_RUN]')]);
    expect(other.stderr).toContain(
      `bundle digest: it was begun with ${digestOf(three)}, this is ${digestOf(two)}`,
    );
    expect(other.stderr).toContain('--allow-upgrade: it was begun with it, this is without');
    expect(other.stderr).toContain('--take-over: it was begun without, this is with it');
    expect(other.stderr).toContain('airbundle rollback');
    await done(op.sh(`airbundle rollback -y --old-rpms ${OLD_RPMS}`));
    expect(await running()).toBe(before);
    expect(await answer()).toBe('program 1 rate 10');
    await done(install(two));
  });

  it('kill -9 anywhere in a rollback: the same command ends in the same state', async () => {
    await done(first(one));
    const before = await running();
    for (let records = 1, wasCut = true; wasCut; records += STEP) {
      await done(install(three, '--allow-upgrade'));
      wasCut = await cutOff(`airbundle rollback -y --old-rpms ${OLD_RPMS}`, records);
      expect(wasCut || records > 2 * STEP).toBe(true);
      // Killed before it began or after its end, a second one would take back the first release.
      const to = `--to ${digestOf(one)}`;
      await done(op.sh(`airbundle rollback ${to} -y --old-rpms ${OLD_RPMS}`));
      expect([records, await running()]).toEqual([records, before]);
      expect(await answer()).toBe('program 1 rate 10');
    }
  });

  it('kill -9 anywhere in an uninstall: the same command, or install.sh, ends with the node of before', async () => {
    for (let records = 1, wasCut = true; wasCut; records += STEP) {
      await done(first(three, '--allow-upgrade'));
      wasCut = await cutOff(`airbundle uninstall -y --old-rpms ${OLD_RPMS}`, records);
      expect(wasCut || records > 2 * STEP).toBe(true);
      const command = (await op.sh('test -x /usr/sbin/airbundle')).exitCode === 0;
      const proof = `--key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint}`;
      await done(
        op.sh(
          `${command ? 'airbundle uninstall' : `cd ${folder(three)} && sh install.sh uninstall ${proof}`} -y --old-rpms ${OLD_RPMS}`,
        ),
      );
      expect([records, await remembering()]).toEqual([records, clean]);
    }
  });

  it('is refused with words for a digest that was never here, and when there is nothing to go back to', async () => {
    const proof = `--key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint}`;
    const none = await op.sh(`cd ${folder(one)} && sh install.sh rollback ${proof} -y`);
    expect([none.exitCode, none.stderr]).toEqual([5, expect.stringContaining('error[NOTHING_TO_UNDO]')]);
    await done(first(one));
    const unknown = await op.sh(`airbundle rollback -y --to ${'0'.repeat(16)}`);
    expect([unknown.exitCode, unknown.stderr]).toEqual([5, expect.stringContaining('error[NO_SUCH_RUN]')]);
    expect(unknown.stderr).toContain(digestOf(one));
    const word = await op.sh('airbundle rollback -y --to none');
    expect([word.exitCode, word.stderr]).toEqual([2, expect.stringContaining('airbundle uninstall')]);
  });

  it('a second one says who is at work', async () => {
    await done(first(one));
    const held = op.sh(`flock /run/airbundle.lock sleep 3`);
    await sleep(500);
    const second = await op.sh('airbundle rollback -y');
    expect([second.exitCode, second.stderr]).toEqual([
      5,
      expect.stringMatching(/process \d+, since \d{4}-\S+\n[^]*\| flock \/run\/airbundle\.lock sleep 3/),
    ]);
    await held;
  });
});
