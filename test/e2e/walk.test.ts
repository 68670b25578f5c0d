import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuideRun } from '../docs/guide-runs.js';
import { LEAVING_RUNS, NODE_RUNS, scriptOf, titleOf } from '../docs/guide-runs.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import { labSources } from '../lab/sources.js';
import type { NodeFacts } from '../lab/walk/operator.js';
import {
  callVip,
  carry,
  chain,
  DESK,
  MEDIUM,
  nodeFacts,
  settled,
  statusOf,
  type,
} from '../lab/walk/operator.js';
import type { PackedBundle } from '../lab/walk/packager.js';
import { packed as pack, packager } from '../lab/walk/packager.js';

/*
 * The main job on real parts: yum in a container, real sources, real rpm, real builds, systemd, VRRP and
 * gRPC, on a node without compiler, Node or a way out. The tests go down one road, in order.
 */

const NODE = 'lb1';
/** Two builds side by side; a machine with other work takes its time. */
const INSTALLED_MS = 30 * 60_000;
const AGAIN = `bundle install . --site ${DESK}/site.yaml --node ${NODE}`;

describe('the walk from a manifest to answered gRPC calls', () => {
  let packed: PackedBundle;
  let lab: Lab;
  let before: NodeFacts;

  const sh = (text: string) => lab.exec(NODE, ['sh', '-c', text]);
  const out = async (text: string): Promise<string> => (await sh(text)).stdout.trim();
  const file = (name: string): string => `${MEDIUM}/${packed.stem}/${name}`;
  const reloads = (): Promise<string> => out('journalctl -u haproxy -o cat | grep -c "Reloaded"');

  const typed = async (run: GuideRun): Promise<void> => {
    if (run.shows.source.includes('all is well')) await settled(lab, NODE);
    const cwd = run.cwd ?? `${MEDIUM}/${packed.stem}`;
    const done = await lab.exec(NODE, ['sh', '-c', scriptOf(run, cwd, packed)], {
      env: { F: packed.fingerprint },
      ...(run.input === undefined ? {} : { input: run.input }),
    });
    expect(done.exitCode, done.stdout).toBe(0);
    expect(done.stdout).toMatch(run.shows);
    const after = await lab.exec(NODE, ['sh', '-c', `set -eu; cd '${cwd}'; ${run.after ?? ':'}`], {
      env: { OUT: done.stdout, F: packed.fingerprint },
    });
    expect(after.exitCode, `${run.after ?? ''}\n${after.stdout}${after.stderr}`).toBe(0);
  };
  const named = (runs: readonly GuideRun[]): [string, GuideRun][] => runs.map((run) => [titleOf(run), run]);

  beforeAll(async () => {
    packed = await packager({ quiet: true });
    lab = await startLab({ nodes: [NODE], backends: ['tts1', 'tts2'] });
    before = await nodeFacts(lab, NODE);
    await carry(lab, NODE, packed);
  });
  afterAll(async () => {
    await lab.down();
  });

  it('starts from a node without compiler, git, Node, yum or a default route', () => {
    expect(before.tools).toEqual([]);
    expect(before.routes).toBe('');
    expect(before.rpms).toBeGreaterThan(50);
  });

  it('makes the same bytes when it is packed again from lock and store', async () => {
    const again = await packager({ quiet: true });
    expect(again.payloadSha256).toBe(packed.payloadSha256);
    expect(again.state).toBe('same');
    expect(again.lockWritten).toBe(false);
  });

  it.each([
    ['the payload', (stem: string) => `${stem}.tar`, /Verified OK\n.*\.tar: FAILED/],
    ['install.sh', () => 'install.sh', /Verified OK\n.*\.tar: OK\ninstall\.sh: FAILED/],
    ['the checksum file', (stem: string) => `${stem}.sha256`, /^Verification Failure/],
    ['the signature', (stem: string, key: string) => `${stem}.sha256.${key}.sig`, /^Verification Failure/],
  ])(
    'is refused by the stock commands after one byte of %s changed, and nothing is on the node',
    async (_, nameOf, words) => {
      const path = file(nameOf(packed.stem, packed.keyId));
      // The last byte, whatever it is, becomes another one; the same again puts it back.
      const flip = `last=$(tail -c 1 '${path}' | od -An -tu1); at=$(($(stat -c %s '${path}') - 1)); printf "\\\\$(printf %o $((last ^ 1)))" | dd of='${path}' bs=1 seek=$at conv=notrunc status=none`;
      await sh(flip);
      const refused = await type(lab, NODE, packed, chain(packed, NODE));
      await sh(flip);
      expect(refused.exitCode).not.toBe(0);
      expect(refused.stdout).toMatch(words);
      expect(await out('ls -d /var/lib/airbundle /etc/airbundle /usr/sbin/airbundle 2>/dev/null')).toBe('');
    },
  );

  it('is refused by install.sh alone too, with exit code 4, when the payload changed', async () => {
    const path = file(`${packed.stem}.tar`);
    await sh(`printf x >> '${path}'`);
    const refused = await type(
      lab,
      NODE,
      packed,
      `sh install.sh --key ${DESK}/packager.pub.pem --fingerprint ${packed.fingerprint} --site ${DESK}/site.yaml --node ${NODE} -y`,
    );
    expect(refused.exitCode).toBe(4);
    expect(refused.stderr).toContain('BAD_CHECKSUM');
    await sh(`truncate -s -1 '${path}'`);
    expect(await out('ls /var/lib/airbundle/stage')).toBe('');
  });

  it('asks before it changes anything, and refuses where there is no terminal and no -y', async () => {
    const refused = await type(lab, NODE, packed, chain(packed, NODE, ''));
    expect(refused.exitCode).toBe(2);
    expect(refused.stdout).toContain('Plan for lb1');
    expect(refused.stderr).toContain('NO_TERMINAL');
    expect((await nodeFacts(lab, NODE)).rpms).toBe(before.rpms);
    expect(await out('ls /etc/airbundle/trust 2>/dev/null')).toBe('');
  });

  it(
    'installs: packages, two builds side by side, configuration, services, checks',
    async () => {
      const done = await type(lab, NODE, packed, chain(packed, NODE));
      expect(`${done.stdout}\n${done.stderr}`).toContain('Verified OK');
      expect(done.exitCode, done.stderr).toBe(0);
      const after = await nodeFacts(lab, NODE);
      expect(done.stdout).toContain(`${String(before.rpms)} RPMs before, ${String(after.rpms)} after`);
      // The compiler came and went: the log of the step names it, the node has it no more.
      expect(await out('grep -c gcc- /var/log/airbundle/rpm-install.log')).not.toBe('0');
      expect(after.tools).toEqual([]);
      expect(await out('rpm -q gcc make openssl-devel | grep -vc "is not installed"')).toBe('0');
      // Neither make says that it has to count by itself.
      const logs = await out(
        'cat /var/log/airbundle/build-haproxy.log /var/log/airbundle/build-keepalived.log',
      );
      expect(logs.match(/^# make: its jobs are counted together/gm)).toHaveLength(2);
      expect(logs).not.toMatch(/jobserver|unrecognized options/);
    },
    INSTALLED_MS,
  );

  it('shows versions, services, the VIP and the backends', async () => {
    const status = await settled(lab, NODE);
    expect(status.versions.map((version) => version.component).sort()).toEqual(['haproxy', 'keepalived']);
    expect(
      status.services.every((service) => service.active === 'active' && service.enabled === 'enabled'),
    ).toBe(true);
    expect(status.backends.map((backend) => backend.status)).toEqual(['UP', 'UP']);
    expect(status.drift).toEqual([]);
  });

  it('spreads the gRPC calls of one connection over both backends, and loses none', async () => {
    const report = await callVip(lab, 40);
    expect(report.replies).toEqual({ tts1: 20, tts2: 20 });
    expect(report.errors).toEqual({});
  });

  it('leaves nothing of the build behind: no folder, no process, no account of the build user', async () => {
    expect(await out('ls /var/lib/airbundle/build /var/lib/airbundle/stage')).toBe(
      '/var/lib/airbundle/build:\n\n/var/lib/airbundle/stage:',
    );
    expect(await out('ps -e -o uid= | sort -un | grep ^478')).toBe('');
    expect(await out('getent passwd 47801 47802')).toBe('');
  });

  it('ran on the Node 16.20.2 that travelled in the bundle', async () => {
    expect(await out('/usr/libexec/airbundle/node --version')).toBe('v16.20.2');
    expect(await out('command -v node')).toBe('');
  });

  it('changes nothing the second time, and does not read the payload', async () => {
    await sh(`mv '${file(`${packed.stem}.tar`)}' /root/away.tar`);
    const journal = await out('sha256sum /var/lib/airbundle/journal.ndjson');
    const done = await type(lab, NODE, packed, AGAIN);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toContain('nothing was changed');
    expect(await out('sha256sum /var/lib/airbundle/journal.ndjson')).toBe(journal);
    await sh(`mv /root/away.tar '${file(`${packed.stem}.tar`)}'`);
  });

  it('takes the same first command again, and refuses another --key once a key is trusted', async () => {
    const again = await type(lab, NODE, packed, chain(packed, NODE));
    expect(again.exitCode, again.stderr).toBe(0);
    expect(again.stdout).toContain('nothing was changed');
    await sh(`openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout > ${DESK}/other.pem`);
    const other = await out(
      `openssl pkey -pubin -in ${DESK}/other.pem -outform DER | sha256sum | cut -c 1-64`,
    );
    const refused = await type(
      lab,
      NODE,
      packed,
      `sh install.sh --key ${DESK}/other.pem --fingerprint ${other} --site ${DESK}/site.yaml --node ${NODE} -y`,
    );
    expect(refused.exitCode).toBe(5);
    expect(refused.stderr).toContain('TRUST_EXISTS');
  });

  it('carries a changed site over by a reload, without a build and without losing the process', async () => {
    const pid = await out('systemctl show -p MainPID haproxy');
    const reloadsBefore = await reloads();
    await sh(
      `sed 's/balance: .*//; s/^    protocol: grpc$/    protocol: grpc\\n    balance: leastconn/' ${DESK}/site.yaml > ${DESK}/new.yaml`,
    );
    const done = await type(lab, NODE, packed, `bundle install . --site ${DESK}/new.yaml --node ${NODE} -y`);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toContain('~ /etc/haproxy/haproxy.cfg');
    expect(done.stdout).not.toContain('build');
    expect(await out('grep -c leastconn /etc/haproxy/haproxy.cfg')).toBe('1');
    expect(await out('systemctl show -p MainPID haproxy')).toBe(pid);
    expect(await reloads()).not.toBe(reloadsBefore);
  });

  it('refuses a site whose certificate is not on the node, before anything changes', async () => {
    await sh(
      `sed 's/^    protocol: grpc$/    protocol: grpc\\n    tls: { certificate: \\/root\\/no-such.pem }/' ${DESK}/site.yaml > ${DESK}/bad.yaml`,
    );
    const refused = await type(
      lab,
      NODE,
      packed,
      `bundle install . --site ${DESK}/bad.yaml --node ${NODE} -y`,
    );
    expect([refused.exitCode, refused.stderr]).toEqual([5, expect.stringContaining('PLAN_REFUSED')]);
    expect(refused.stderr).toContain('certificate of tts is not there: put it at /root/no-such.pem');
  });

  it('puts everything back when haproxy refuses the new configuration', async () => {
    const config = await out('sha256sum /etc/haproxy/haproxy.cfg');
    await sh('echo nothing >/root/no-certificate.pem');
    await sh(
      `sed 's/^    protocol: grpc$/    protocol: grpc\\n    tls: { certificate: \\/root\\/no-certificate.pem }/' ${DESK}/site.yaml > ${DESK}/bad.yaml`,
    );
    const failed = await type(
      lab,
      NODE,
      packed,
      `bundle install . --site ${DESK}/bad.yaml --node ${NODE} -y`,
    );
    expect(failed.exitCode).toBe(6);
    expect(failed.stderr).toContain('CONFIGURATION_REFUSED');
    expect(failed.stderr).toContain('no-certificate.pem');
    expect(await out('sha256sum /etc/haproxy/haproxy.cfg')).toBe(config);
    expect((await statusOf(lab, NODE)).problems).toEqual([]);
    expect((await callVip(lab, 4)).errors).toEqual({});
  });

  it('names what the site before this one had put there, until it has its place again or is gone', async () => {
    await sh(`{ cat ${DESK}/site.yaml; echo 'log: { rsyslog: false }'; } >${DESK}/quiet.yaml`);
    const quiet = `. --site ${DESK}/quiet.yaml --node ${NODE}`;
    expect(await type(lab, NODE, packed, `bundle install ${quiet} -y`)).toMatchObject({ exitCode: 0 });
    const { left, drift } = await statusOf(lab, NODE);
    expect(left).toContain('/etc/rsyslog.d/30-airbundle-haproxy.conf');
    expect(drift).toEqual([]);
    const shown = await out('airbundle status');
    expect(shown).toContain(`left of earlier installations\n${left.map((at) => `  ${at}\n`).join('')}`);
    const planned = await type(lab, NODE, packed, `bundle plan ${quiet}`);
    for (const at of left) expect(planned.stdout).toContain(`(rm ${at})`);
    await sh('airbundle rollback -y');
    expect(await statusOf(lab, NODE)).toMatchObject({ left: [], drift: [] });
  });

  describe('goes on with what the pages tell an operator and a reviewer to type', () => {
    /** The release after this one: the same content, signed by the same key. */
    const nextRelease = async (work: string): Promise<string> => {
      const manifests = join(work, 'manifests');
      await cp(join(ROOT, 'manifests'), manifests, { recursive: true });
      const text = await readFile(join(manifests, 'tts-ha.yaml'), 'utf8');
      const raised = text
        .replace("version: '1.0.0'", "version: '1.0.1'")
        .replace('sequence: 1\n', 'sequence: 2\n');
      await writeFile(join(manifests, 'tts-ha.yaml'), raised);
      await cp(join(packed.work, 'keys'), join(work, 'keys'), { recursive: true });
      const next = await pack('tts-ha', await labSources(), { manifests, work, quiet: true });
      return next.folder;
    };

    beforeAll(async () => {
      const work = await mkdtemp(join(tmpdir(), 'airbundle-next-'));
      try {
        await lab.copyIn(NODE, await nextRelease(work), MEDIUM);
      } finally {
        await rm(work, { recursive: true, force: true });
      }
      await lab.copyIn(NODE, (await labRepository()).keyFile, '/root/rpm-key');
    });

    it('whose first installation is the one that was typed above', () => {
      const guide = NODE_RUNS.find((run) => run.page.endsWith('operator.md') && run.first.startsWith('cd '));
      if (guide === undefined) throw new Error('the guide has no first installation');
      expect(scriptOf(guide, MEDIUM, packed)).toContain(chain(packed, NODE, '').trimEnd());
    });

    it.each(named(NODE_RUNS))('%s', (_, run) => typed(run));
  });

  it('sees a program and a configuration that were changed by hand', async () => {
    await sh('echo >> /usr/local/share/man/man1/haproxy.1; echo "# by hand" >> /etc/haproxy/haproxy.cfg');
    expect((await statusOf(lab, NODE)).drift).toEqual([
      '/usr/local/share/man/man1/haproxy.1',
      '/etc/haproxy/haproxy.cfg',
    ]);
  });

  it.each(named(LEAVING_RUNS))('%s', (_, run) => typed(run), INSTALLED_MS);
});
