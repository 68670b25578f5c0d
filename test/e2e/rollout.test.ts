import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Fleet } from './deploy-lab.js';
import { DESK, fleet, JUMP } from './deploy-lab.js';
import { say } from '../lab/progress.js';
import { carryPrograms, pairSite, PORT, release } from './rollout-lab.js';

/* A pair that really fails over, changed from a jump host over SSH. The tests go down one road, in order. */

const SECRET = 's3cr3t-8';

const Report = z.object({
  outcome: z.string(),
  nodes: z.array(
    z.object({ node: z.string(), outcome: z.string(), now: z.string(), holds: z.array(z.string()) }),
  ),
  vips: z.array(z.object({ holders: z.array(z.string()), answers: z.boolean().nullable() })),
  watched: z.array(
    z.object({ attempts: z.number(), failures: z.number(), longestGapMs: z.number().nullable() }),
  ),
});

const SiteStatus = z.object({
  vips: z.array(z.object({ holders: z.array(z.string()), answers: z.boolean() })),
  findings: z.array(z.object({ code: z.string(), message: z.string(), cause: z.string().nullable() })),
});

describe('a rollout over SSH to a pair with a VIP', () => {
  let site: Fleet;
  let one: string;
  let two: string;

  const reportOf = (text: string): z.infer<typeof Report> => Report.parse(JSON.parse(text));
  const statusOfSite = async (): Promise<z.infer<typeof SiteStatus>> => {
    const done = await site.sh(JUMP, `cd ${DESK} && airbundle status --site site.yaml -o json`);
    return SiteStatus.parse(JSON.parse(done.stdout));
  };
  const holder = async (): Promise<string[]> => (await statusOfSite()).vips[0]?.holders ?? [];

  beforeAll(async () => {
    site = await fleet(['lb1', 'lb2'], { backends: ['tts1'], site: pairSite });
    await carryPrograms(site);
    await site.sh(JUMP, `umask 077; printf '%s\n' '${SECRET}' >${DESK}/vrrp.secret`);
    one = await site.carry(await release(site, '1.0.0', 1));
    two = await site.carry(await release(site, '1.1.0', 2));
    const { fingerprint } = site.key;
    await site.sh(
      JUMP,
      `cd ${two} && sh install.sh --tools-only --key ${DESK}/key.pem --fingerprint ${fingerprint}`,
    );
  });
  afterAll(async () => {
    await site.down();
  });

  it('installs both, and one of them holds the VIP, which answers from the jump host', async () => {
    const done = await site.deploy(one, '-o json');
    expect(done.exitCode, done.stderr).toBe(0);
    const report = reportOf(done.stdout);
    expect(report.nodes.map(({ node, outcome, now }) => `${node} ${outcome} ${now}`)).toEqual([
      'lb1 changed tts-ha 1.0.0',
      'lb2 changed tts-ha 1.0.0',
    ]);
    expect(report.vips).toEqual([{ holders: ['lb1'], answers: true }]);
    expect((await site.lab.call(`${site.lab.vip}:${String(PORT)}`, 10)).errors).toEqual({});
  });

  it('finds nothing wrong between the nodes, and never shows the secret', async () => {
    const done = await site.sh(JUMP, `cd ${DESK} && airbundle status --site site.yaml`);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toContain('all is well');
    expect(done.stdout).toMatch(/VIP tts \(.*\) +held +-/);
    for (const node of site.nodes) {
      const shown = await site.sh(node, 'airbundle status -o json; airbundle status --own-view');
      expect(shown.stdout).not.toContain(SECRET);
      expect(shown.stdout).toContain('as far as this node can see');
    }
  });

  it('upgrades the standby first and hands the VIP over before it changes the one that serves', async () => {
    const done = await site.deploy(two, '-o json');
    expect(done.exitCode, done.stderr).toBe(0);
    const report = reportOf(done.stdout);
    expect(report.nodes.map(({ node, outcome, now }) => `${node} ${outcome} ${now}`)).toEqual([
      'lb1 changed tts-ha 1.1.0',
      'lb2 changed tts-ha 1.1.0',
    ]);
    expect(report.vips).toEqual([{ holders: ['lb2'], answers: true }]);
    expect(done.stderr).toMatch(
      /lb2: install[\s\S]*lb1: hand over tts[\s\S]*now held by lb2[\s\S]*lb1: install/,
    );
    const [watched] = report.watched;
    say(`longest gap of the rolling upgrade, seen from the jump host: ${String(watched?.longestGapMs)} ms`);
    expect(watched?.attempts).toBeGreaterThan(20);
    // Node death's goal; the one of a planned failover is measured under load in failover.test.ts.
    expect(watched?.longestGapMs).toBeLessThan(4000);
    for (const node of site.nodes)
      expect((await site.sh(node, 'cat /usr/local/share/tts-ha/version')).stdout.trim()).toBe('1.1.0');
  });

  it('says with --check that nothing is left to do, and with another release what it would do', async () => {
    const done = await site.deploy(two, '--check');
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toMatch(
      /1\. {2}lb1 {2}tts-ha 1\.1\.0 {2}standby {4,}nothing to do\n {2}2\. {2}lb2 {2}tts-ha 1\.1\.0 {2}holds tts {2}nothing to do/,
    );
    expect(done.stdout).toContain('this was the check only; nothing that runs was changed');
    const older = await site.deploy(one, '--check');
    expect(older.exitCode).toBe(5);
    expect(older.stderr).toContain('lb1: error[');
    expect(await holder()).toEqual(['lb2']);
  });

  it('goes back on both nodes, the standby first', async () => {
    const done = await site.sh(
      JUMP,
      `cd ${DESK} && airbundle deploy --rollback --site site.yaml -y -o json </dev/null`,
      600_000,
    );
    expect(done.exitCode, done.stderr).toBe(0);
    const report = reportOf(done.stdout);
    expect(report.nodes.map(({ node, now }) => `${node} ${now}`)).toEqual([
      'lb1 tts-ha 1.0.0',
      'lb2 tts-ha 1.0.0',
    ]);
    expect(report.vips).toEqual([{ holders: ['lb1'], answers: true }]);
    expect((await site.lab.call(`${site.lab.vip}:${String(PORT)}`, 10)).errors).toEqual({});
  });

  describe('looks for split brain', () => {
    const codes = async (): Promise<string[]> => (await statusOfSite()).findings.map(({ code }) => code);

    it('finds two holders and the secret that differs, and refuses a rollout', async () => {
      await site.sh(
        'lb2',
        "sed -i 's/auth_pass .*/auth_pass other/' /etc/keepalived/keepalived.conf; systemctl restart keepalived",
      );
      await expect
        .poll(codes, { timeout: 30_000 })
        .toEqual(expect.arrayContaining(['TWO_HOLDERS', 'VRRP_SECRET_DIFFERS']));
      const { findings } = await statusOfSite();
      expect(findings[0]?.message).toContain('is held by lb1 and lb2 at the same time');
      expect(findings[0]?.cause).toContain('auth_pass on lb2 is not the one');
      const refused = await site.deploy(two);
      expect(refused.exitCode).toBe(5);
      expect(refused.stderr).toContain('PREFLIGHT_FAILED');
      await site.sh(
        'lb2',
        `sed -i 's/auth_pass .*/auth_pass ${SECRET}/' /etc/keepalived/keepalived.conf; systemctl restart keepalived`,
      );
      await expect.poll(codes, { timeout: 30_000 }).not.toContain('TWO_HOLDERS');
    });

    it('names a node that cannot be reached, and ends with 7', async () => {
      await site.sh('lb2', 'systemctl stop ssh.socket ssh');
      const done = await site.sh(JUMP, `cd ${DESK} && airbundle status --site site.yaml`);
      expect(done.exitCode).toBe(7);
      expect(done.stdout).toContain('PROBLEM [NODE_UNREACHABLE] lb2 cannot be asked');
      await site.sh('lb2', 'systemctl start ssh');
    });
  });
});
