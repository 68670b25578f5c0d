import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
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

  it('sends a bundle to both nodes, and each installs it by itself', async () => {
    const done = await site.deploy(folder);
    expect(done.exitCode).toBe(0);
    expect(done.stdout).toBe('lb1: installed\nlb2: installed');
    for (const node of site.nodes) expect((await site.sh(node, 'hello')).stdout).toContain('hello');
  });
});
