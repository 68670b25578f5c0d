import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

const HOLD = '/var/tmp/hold';
const BROKEN = '/var/tmp/broken';
const CONFIG = '/etc/keepalived/keepalived.conf';

/** A stand-in for keepalived, so that a test can hold it up or break it; systemd and its unit are real. */
const STAND_IN = [
  '#!/bin/sh',
  'case $1 in',
  `  -t) [ "$3" != ${CONFIG} ] || while [ -e ${HOLD} ]; do sleep 0.1; done ;;`,
  `  --dont-fork) [ -e ${BROKEN} ] && exit 1; cp ${CONFIG} /run/stand-in.running; exec sleep infinity ;;`,
  '  *) echo "Keepalived stand-in" ;;',
  'esac',
  '',
].join('\n');

describe('an installation with a service', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let bundle: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    bundle = await pack.pack({
      source: { keepalived: STAND_IN },
      component: {
        name: 'keepalived',
        configuration: 'keepalived',
        build: [['true']],
        install: ['install', '-D', '-m', '755', 'keepalived', '{destdir}/usr/local/sbin/keepalived'],
        files: ['/usr/local/sbin/keepalived'],
      },
    });
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.sh(
      `rm -f ${HOLD} ${BROKEN}; systemctl stop keepalived; systemctl disable keepalived; rm -rf /etc/systemd/system/keepalived.service /etc/keepalived /usr/local/sbin/keepalived; systemctl daemon-reload; systemctl reset-failed`,
    );
    await op.reset();
    folder = await op.carry(bundle);
    await site(51);
  });

  const site = (routerId: number): Promise<Outcome> =>
    op.sh(
      `cat >${DESK}/site.yaml <<'EOT'\n${[
        'airbundle-site: 1',
        'name: lab',
        `nodes: [{ name: lb1, address: ${lab.nodes['lb1']!.address}, interface: eth0, role: primary }]`,
        `vips: [{ name: tts, address: ${lab.vip}/24 }]`,
        `vrrp: { virtualRouterId: ${routerId}, secretFile: vrrp.secret }`,
        'services: [{ name: tts, bind: tts, port: 50051, protocol: grpc, backends: [{ name: b1, address: 10.9.9.9, port: 1 }] }]',
      ].join('\n')}\nEOT\nprintf s3cr3t-8 >${DESK}/vrrp.secret; chmod 644 ${DESK}/vrrp.secret`,
    );
  const words = (): string =>
    `--key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} --site ${DESK}/site.yaml --node lb1 -y`;
  const run = (): Promise<Outcome> => op.sh(`cd ${folder} && sh install.sh ${words()}`);
  const begin = (): Promise<Outcome> =>
    op.sh(`setsid -w sh -c 'echo $$ >/run/group; cd ${folder} && exec sh install.sh ${words()}'`);
  const until = async (text: string): Promise<void> => {
    for (let round = 0; round < 200; round += 1) {
      if ((await op.sh(text)).exitCode === 0) return;
      await sleep(100);
    }
    throw new Error(`never true: ${text}`);
  };
  const state = (): Promise<string> =>
    op
      .sh(
        `systemctl is-active keepalived; systemctl is-enabled keepalived; cmp ${CONFIG} /run/stand-in.running && echo current; grep -o 'router_id [0-9]*$' ${CONFIG} | tail -n 1`,
      )
      .then((done) => done.stdout);
  const RUNNING = 'active\nenabled\ncurrent\nrouter_id 51';
  const nothingOfIt = async (): Promise<void> => {
    const seen = await op.sh(
      'systemctl is-active keepalived; ls -d /etc/keepalived /etc/systemd/system/keepalived.service /etc/systemd/system/*.wants/keepalived.service /usr/local/sbin/keepalived /etc/airbundle 2>/dev/null',
    );
    expect(seen.stdout).toBe('inactive');
  };

  it('runs it, warns of an open secret, and does nothing the second time', async () => {
    const done = await run();
    expect([done.exitCode, done.stderr]).toEqual([
      0,
      expect.stringContaining('others can read the VRRP secret: chmod 600'),
    ]);
    expect(await state()).toBe(RUNNING);
    const again = await run();
    expect([again.exitCode, again.stdout]).toEqual([0, expect.stringContaining('nothing was changed')]);
  });

  it('names an edit by hand before it replaces it, and leaves local additions alone, after an uninstall too', async () => {
    const OWN = '/etc/keepalived/conf.d/own.conf';
    expect((await run()).exitCode).toBe(0);
    await op.sh(`echo '# mine' >>${CONFIG}; echo '# own' >${OWN}`);
    const plan = await op.sh(`airbundle plan ${folder} --site ${DESK}/site.yaml --node lb1`);
    expect([plan.exitCode, plan.stdout]).toEqual([
      0,
      expect.stringContaining(`${CONFIG}  changed by hand since the last installation`),
    ]);
    expect(plan.stdout).toContain('| -# mine');
    expect(plan.stdout).toContain(`local additions are loaded too: ${OWN}`);
    expect(plan.stdout).toContain('belongs into /etc/keepalived/conf.d/*.conf');
    expect((await run()).exitCode).toBe(0);
    expect((await op.sh(`cat ${OWN}; grep -c mine ${CONFIG}`)).stdout).toBe('# own\n0');
    expect((await op.sh('airbundle uninstall --purge -y')).exitCode).toBe(0);
    expect((await op.sh(`ls ${CONFIG}; cat ${OWN}`)).stdout).toBe('# own');
  });

  it('is refused on a node that has not the address which the site gives it', async () => {
    await op.sh(`sed -i s/${lab.nodes['lb1']!.address}/10.9.9.11/ ${DESK}/site.yaml`);
    await op.sh(
      `sed -i 's/role: primary }\\]/role: primary }, { name: lb2, address: 10.9.9.12, interface: eth0, role: secondary }]/; s/${lab.vip}/10.9.9.100/' ${DESK}/site.yaml`,
    );
    const refused = await run();
    expect([refused.exitCode, refused.stderr]).toEqual([5, expect.stringContaining('PLAN_REFUSED')]);
    expect(refused.stderr).toContain('the site says that node lb1 has 10.9.9.11 on eth0');
    expect(refused.stderr).toContain('the VIP 10.9.9.100 on eth0, where this node is in another network');
    await nothingOfIt();
  });

  it('is undone when the service does not stay up', async () => {
    await op.sh(`: >${BROKEN}`);
    const done = await run();
    expect([done.exitCode, done.stderr]).toEqual([
      6,
      expect.stringMatching(/error\[(CHECK_FAILED|SERVICE_FAILED)\]/),
    ]);
    expect(done.stderr).not.toContain('not undone');
    await nothingOfIt();
  });

  it('goes back to the old configuration, running, when the new one fails', async () => {
    expect((await run()).exitCode).toBe(0);
    await site(77);
    // The new one holds at its start for good: systemctl gives up, or it is interrupted.
    await op.sh(`: >${HOLD}`);
    const running = begin();
    await until(
      `grep -q 'router_id 77' ${CONFIG} && systemctl is-active keepalived | grep -q -e activating -e reloading || tail -n 1 /var/lib/airbundle/journal.ndjson | grep -q step-done`,
    );
    await op.sh('kill -INT -$(cat /run/group)');
    await sleep(300);
    await op.sh(`rm ${HOLD}`);
    const done = await running;
    expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('error[INTERRUPTED]')]);
    expect(await state()).toBe(RUNNING);
  });

  it('Ctrl-C while it starts: stopped, disabled and gone; the same command goes on', async () => {
    await op.sh(`: >${HOLD}`);
    const running = begin();
    await until('systemctl is-active keepalived | grep -q activating');
    await op.sh('kill -INT -$(cat /run/group)');
    await sleep(300);
    await op.sh(`rm ${HOLD}`);
    const done = await running;
    expect([done.exitCode, done.stderr]).toEqual([6, expect.stringContaining('error[INTERRUPTED]')]);
    await nothingOfIt();
    expect((await run()).exitCode).toBe(0);
    expect(await state()).toBe(RUNNING);
  });

  it('kill -9 between the configuration and the service: the rerun brings it up with what is written', async () => {
    await op.sh(`: >${HOLD}`);
    const running = begin();
    await until('systemctl is-active keepalived | grep -q activating');
    await op.sh('kill -KILL -$(cat /run/group)');
    await running;
    await op.sh(`rm ${HOLD}`);
    const again = await run();
    expect([again.exitCode, again.stderr]).toEqual([0, expect.anything()]);
    expect(await state()).toBe(RUNNING);
  });
});
