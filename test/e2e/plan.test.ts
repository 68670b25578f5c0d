import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PlanDocument } from '../../src/install/plan-schema.js';
import { PlanSchema } from '../../src/install/plan-schema.js';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

const SECRET = 's3cr3t-8';

/** A stand-in for keepalived, built in no time; systemd and its unit are real. */
const STAND_IN = [
  '#!/bin/sh',
  'case $1 in',
  '  --dont-fork) exec sleep infinity ;;',
  '  *) echo "Keepalived stand-in" ;;',
  'esac',
  '',
].join('\n');

describe('a plan for a change board', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let bundle: MadeBundle;
  let folder: string;
  /** The packager's or operator's desk: a folder of this machine. */
  let desk: string;
  let site: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    bundle = await pack.pack({
      source: { keepalived: STAND_IN },
      rpms: [pack.rpm({ name: 'planned' }), pack.rpm({ name: 'lacking', requires: 'nothing-has-this' })],
      component: {
        name: 'keepalived',
        configuration: 'keepalived',
        build: [['true']],
        install: ['install', '-D', '-m', '755', 'keepalived', '{destdir}/usr/local/sbin/keepalived'],
        files: ['/usr/local/sbin/keepalived'],
      },
    });
    await op.reset();
    folder = await op.carry(bundle);
    site = [
      'airbundle-site: 1',
      'name: lab',
      `nodes: [{ name: lb1, address: ${lab.nodes['lb1']!.address}, interface: eth0, role: primary }]`,
      `vips: [{ name: tts, address: ${lab.vip}/24 }]`,
      'vrrp: { virtualRouterId: 51, secretFile: vrrp.secret }',
      'services: [{ name: tts, bind: tts, port: 50051, protocol: grpc, backends: [{ name: b1, address: 10.9.9.9, port: 1 }] }]',
      '',
    ].join('\n');
    await op.sh(
      `cat >${DESK}/site.yaml <<'EOT'\n${site}EOT\nprintf ${SECRET} >${DESK}/vrrp.secret; chmod 600 ${DESK}/vrrp.secret; mkdir -p /etc/keepalived; printf 'vrrp_instance old {\\n    priority 7\\n    auth_pass hunter22\\n}\\n' >/etc/keepalived/keepalived.conf`,
    );
    desk = path.join(pack.work, 'desk');
    mkdirSync(desk);
    writeFileSync(path.join(desk, 'site.yaml'), site);
    writeFileSync(path.join(desk, 'vrrp.secret'), SECRET, { mode: 0o600 });
    writeFileSync(path.join(desk, 'packager.pub.pem'), pack.key.pem);
  });
  afterAll(async () => {
    await op.sh(
      'systemctl disable --now keepalived; rm -rf /etc/keepalived /usr/local/sbin/keepalived /etc/systemd/system/keepalived.service; rpm -e planned lacking',
    );
    await op.reset();
    await lab.down();
    pack.remove();
  });

  const first = (verb: string, more = ''): Promise<Outcome> =>
    op.sh(
      `cd ${folder} && sh install.sh ${verb} --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} --site ${DESK}/site.yaml --node lb1 ${more}`,
    );
  const later = (verb: string, more = ''): Promise<Outcome> =>
    op.sh(`airbundle ${verb} ${folder} --site ${DESK}/site.yaml --node lb1 ${more}`);
  const atDesk = (...words: string[]) =>
    spawnSync(
      process.execPath,
      ['--import', 'tsx', path.join(ROOT, 'src/cli.ts'), 'plan', bundle.folder, ...words, '-q'],
      { cwd: desk, encoding: 'utf8', env: { ...process.env, NODE_PATH: path.join(ROOT, 'node_modules') } },
    );
  const planAt = (file: string): PlanDocument =>
    PlanSchema.parse(JSON.parse(readFileSync(path.join(desk, file), 'utf8')));
  /** Free space is another from one moment to the next. */
  const fixed = (plan: PlanDocument): string =>
    JSON.stringify({ ...plan, cost: { ...plan.cost, freeBytes: 0 } });

  it('is made on the node and on a desk before anything is installed: the same, byte for byte', async () => {
    const before = await op.fingerprint();
    const taken = await first('inventory', `>${DESK}/lb1.json`);
    expect([taken.exitCode, taken.stderr.includes('error')]).toEqual([0, false]);
    const planned = await first('plan', '-o plan.json --verbose');
    expect(planned.exitCode).toBe(5);
    expect(planned.stdout).toContain('nothing-has-this is needed by lacking');
    expect(planned.stdout).toContain('-    priority 7');
    await lab.copyOut('lb1', `${DESK}/lb1.json`, desk);
    await lab.copyOut('lb1', `${folder}/plan.json`, desk);
    await op.sh(`mv ${folder}/plan.json ${DESK}/refused.json`);

    const there = atDesk(
      ...['--inventory', 'lb1.json', '--site', 'site.yaml', '--node', 'lb1', '--key', 'packager.pub.pem'],
      ...['-o', 'desk.json'],
    );
    expect([there.status, there.stderr]).toEqual([5, '']);
    expect(fixed(planAt('desk.json'))).toBe(fixed(planAt('plan.json')));
    expect(planAt('plan.json')).toMatchObject({ rpmTest: 'tried', signature: 'verified' });
    for (const file of ['lb1.json', 'plan.json', 'desk.json'])
      for (const secret of [SECRET, 'hunter22'])
        expect(readFileSync(path.join(desk, file), 'utf8')).not.toContain(secret);
    // Its own folders are empty, and all that is left.
    await op.sh(
      'cd /var/lib/airbundle && rmdir stage build backup . /var/log/airbundle; rmdir /var/lib/airbundle',
    );
    expect(await op.fingerprint()).toBe(before);
  });

  it('is compared: what was approved is installed, and every refusal is in it', async () => {
    const refused = await first('install', `--plan ${DESK}/refused.json -y`);
    expect([refused.exitCode, refused.stderr.includes('PLAN_REFUSED')]).toEqual([5, true]);
    const allow = '--allow-conflict lacking';
    expect((await first('plan', `${allow} -o ${DESK}/plan.json`)).exitCode).toBe(0);
    expect((await op.sh(`stat -c %a ${DESK}/plan.json`)).stdout).toBe('600');

    await op.sh('echo by-hand >/usr/local/sbin/keepalived');
    const before = await op.fingerprint();
    const drifted = await first('install', `${allow} --plan ${DESK}/plan.json -y`);
    expect(drifted.exitCode).toBe(5);
    expect(drifted.stderr).toContain('error[PLAN_DRIFTED]');
    expect(drifted.stderr).toContain('files /usr/local/sbin/keepalived change: "new" → "replaced"');
    expect(await op.fingerprint()).toBe(before);

    await op.sh('rm /usr/local/sbin/keepalived');
    const done = await first('install', `${allow} --plan ${DESK}/plan.json -y`);
    expect([done.exitCode, done.stderr.includes('error')]).toEqual([0, false]);
  });

  it('has nothing to do afterwards, on the node and on a desk', async () => {
    expect((await later('inventory', `-o ${DESK}/later.json`)).exitCode).toBe(0);
    const planned = await later('plan', '-o json');
    expect(planned.exitCode).toBe(0);
    const here = PlanSchema.parse(JSON.parse(planned.stdout));
    expect(here.steps).toEqual([]);
    await lab.copyOut('lb1', `${DESK}/later.json`, desk);
    const there = atDesk(
      ...['--inventory', 'later.json', '--site', 'site.yaml', '--node', 'lb1'],
      ...['--key', 'packager.pub.pem', '-o', 'json'],
    );
    expect([there.status, there.stderr]).toEqual([0, '']);
    expect(fixed(PlanSchema.parse(JSON.parse(there.stdout)))).toBe(fixed(here));
  });

  it('does not go over what is no file, and says so before it looks at anything', async () => {
    const done = await later('plan', '-o /etc/keepalived/none/plan.json');
    expect([done.exitCode, done.stdout]).toEqual([2, '']);
    expect(done.stderr).toContain('error[BAD_OUTPUT]');
    await op.sh(`mkdir -p ${DESK}/folder.json`);
    expect((await later('plan', `-o ${DESK}/folder.json`)).stderr).toContain('error[BAD_OUTPUT]');
  });
});
