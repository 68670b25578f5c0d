import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Fleet } from './deploy-lab.js';
import { fleet } from './deploy-lab.js';

describe('deploy from a jump host', () => {
  let site: Fleet;
  let bundle: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    site = await fleet(['lb1', 'lb2']);
    bundle = await site.pack.pack();
    folder = await site.carry(bundle);
  });
  afterAll(async () => {
    await site.down();
  });

  it('sends a bundle to both nodes, and each installs it by itself', async () => {
    const done = await site.deploy(folder);
    expect(done.exitCode).toBe(0);
    expect(done.stdout).toBe('lb1: installed\nlb2: installed');
    for (const node of site.nodes) expect((await site.sh(node, 'hello')).stdout).toContain('hello');
  });
});
