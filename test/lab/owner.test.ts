import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { docker } from './docker.js';
import { abandonedLabs, labels } from './machines.js';
import { isOwnerGone, ownerLabel } from './owner.js';

/** The label of a process that has ended since. */
async function labelOfTheDead(): Promise<string> {
  const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'spawn');
  const label = ownerLabel(child.pid);
  child.stdin.end();
  await once(child, 'exit');
  return label;
}

describe('the owner of a lab', () => {
  it('is there as long as its process is', async () => {
    expect(isOwnerGone(ownerLabel())).toBe(false);
    expect(isOwnerGone(await labelOfTheDead())).toBe(true);
  });

  it('is gone when another process has its id, or the machine was booted again', () => {
    const [boot = '', pid = '', start = ''] = ownerLabel().split('/');
    expect(isOwnerGone([boot, pid, `${start}1`].join('/'))).toBe(true);
    expect(isOwnerGone([boot.replace(/^./, (c) => (c === '0' ? '1' : '0')), pid, start].join('/'))).toBe(
      true,
    );
  });

  it('is taken to be there when a label does not say who it is', () => {
    expect(isOwnerGone('')).toBe(false);
    expect(isOwnerGone('somebody')).toBe(false);
  });
});

describe('npm run demo -- --down', () => {
  const made: string[] = [];
  afterEach(async () => {
    for (const network of made.splice(0)) await docker(['network', 'rm', network]);
  });
  const network = async (owner?: string): Promise<string> => {
    const runId = randomBytes(4).toString('hex');
    const name = `airbundle-lab-${runId}`;
    await docker(['network', 'create', '--internal', ...labels(runId, owner), name]);
    made.push(name);
    return runId;
  };

  it('takes the labs of processes that have ended, and no others', async () => {
    const [used, left] = [await network(), await network(await labelOfTheDead())];
    const abandoned = await abandonedLabs();
    expect(abandoned).toContain(left);
    expect(abandoned).not.toContain(used);
  });
});
