import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Fleet } from './deploy-lab.js';
import { DESK, fleet, JUMP } from './deploy-lab.js';

describe('deploy from a jump host', () => {
  let site: Fleet;
  let bundle: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    site = await fleet(['lb1', 'lb2']);
    bundle = await site.pack();
    folder = await site.carry(bundle);
  });
  afterAll(async () => {
    await site.down();
  });

  it('puts its tools on a jump host, which has no Node, and trusts the key there', async () => {
    const { fingerprint, keyId } = site.key;
    const first = `cd ${folder} && sh install.sh --tools-only --key ${DESK}/key.pem --fingerprint ${fingerprint}`;
    const done = await site.sh(JUMP, first);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toBe('the tools of small 1.0.0 are here; see: airbundle deploy --help');
    expect((await site.sh(JUMP, `ls /etc/airbundle/trust; hello`)).stdout).toBe(`${keyId}.pem`);
    expect((await site.sh(JUMP, `cd ${folder} && sh install.sh --tools-only`)).stdout).toBe(
      'the tools of small 1.0.0 are here already; nothing was changed',
    );
    expect((await site.sh(JUMP, `airbundle verify ${folder}`)).stdout).toContain('small 1.0.0');
  });

  it('says which node failed, and goes on with the same command when it is mended', async () => {
    const holder = 'flock /run/airbundle.lock sleep infinity';
    await site.sh(
      'lb2',
      `setsid ${holder} >/dev/null 2>&1 </dev/null & while flock -n /run/airbundle.lock true; do sleep 0.05; done`,
    );
    const failed = await site.deploy(folder);
    expect(failed.exitCode, failed.stderr).toBe(5);
    expect(failed.stderr).toContain('lb2: error[BUSY]');
    // All nodes are planned before the first one is changed.
    expect((await site.sh('lb1', 'hello')).exitCode).not.toBe(0);
    expect((await site.sh('lb2', 'hello')).exitCode).not.toBe(0);
    await site.sh('lb2', `pkill sleep`);
  });

  it('sends a bundle to both nodes, and each installs it by itself', async () => {
    const done = await site.deploy(folder);
    expect(done.exitCode, done.stderr).toBe(0);
    for (const node of site.nodes) {
      expect((await site.sh(node, 'hello')).stdout).toBe('hello');
      const log = await site.sh(JUMP, `cat ${DESK}/airbundle-logs/*/${node}.log`);
      expect(log.stdout).toContain('installed small 1.0.0');
    }
  });

  it('sends nothing twice, and finds nothing to do', async () => {
    const done = await site.deploy(folder);
    expect(done.exitCode, done.stderr).toBe(0);
    for (const node of site.nodes)
      expect((await site.sh(node, 'airbundle receipts list -o json | grep -c \'"number"\'')).stdout).toBe(
        '1',
      );
  });

  describe('from a machine that is a node itself', () => {
    const versionOf = async (machine: string): Promise<string> =>
      /"version": "([^"]+)"/.exec((await site.sh(machine, 'airbundle status -o json')).stdout)?.[1] ?? '';
    /** `airbundle deploy …` there, which reaches itself by SSH as it reaches the others. */
    const deployOn = (machine: string, words: string): Promise<Outcome> =>
      site.sh(machine, `cd ${DESK} && airbundle deploy ${words} -y </dev/null`, 600_000);

    it('installs the jump host too, when the site has it', async () => {
      const { address = '' } = site.lab.nodes[JUMP] ?? {};
      await site.sh(
        JUMP,
        [
          'systemctl start ssh; cat /root/.ssh/id_ed25519.pub >>/root/.ssh/authorized_keys',
          `echo "${address} $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >>/root/.ssh/known_hosts`,
          `cd ${DESK} && cp site.yaml three.yaml && echo '  - { name: ${JUMP}, address: ${address}, interface: eth0, priority: 100 }' >>three.yaml`,
        ].join('\n'),
      );
      const done = await deployOn(JUMP, `'${folder}' --site three.yaml`);
      expect(done.exitCode, done.stderr).toBe(0);
      expect((await site.sh(JUMP, 'hello')).stdout).toBe('hello');
    });

    it('gives them all the next release, its own tools with it, and goes back with them', async () => {
      const next = await site.pack({ sequence: 2, version: '1.0.1' });
      const nextFolder = await site.carry(next);
      const done = await deployOn(JUMP, `'${nextFolder}' --site three.yaml`);
      expect(done.exitCode, done.stderr).toBe(0);
      for (const machine of [...site.nodes, JUMP]) expect(await versionOf(machine)).toBe('1.0.1');
      const back = await deployOn(JUMP, '--rollback --site three.yaml');
      expect(back.exitCode, back.stderr).toBe(0);
      for (const machine of [...site.nodes, JUMP]) expect(await versionOf(machine)).toBe('1.0.0');
    });
  });
});
