import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuideRun } from '../docs/guide-runs.js';
import { JUMP_FIRST_RUNS, JUMP_NEXT_RUNS, scriptOf, titleOf } from '../docs/guide-runs.js';
import { firstSite, given, MACHINES } from '../lab/failover/begin.js';
import { measure, type Outcome } from '../lab/failover/measure.js';
import { healthyPair } from '../lab/failover/pair.js';
import { nextRelease } from '../lab/failover/release.js';
import { SCENARIOS, type Given } from '../lab/failover/scenarios.js';
import { missed, table } from '../lab/failover/verdict.js';
import { startLab, type Lab } from '../lab/machines.js';
import { LAB } from '../lab/paths.js';
import { carryToJump, JUMP } from '../lab/walk/jump-host.js';
import { MEDIUM } from '../lab/walk/operator.js';
import { packager } from '../lab/walk/packager.js';

/** Two nodes build, one after the other; a machine with other work takes its time. */
const INSTALLED_MS = 30 * 60_000;

/*
 * A pair of load balancers to which the shipped bundle is deployed over SSH, VRRP between them, three gRPC backends,
 * and a client that calls fifty times a second while one thing after another fails. Each scenario goes from a healthy
 * pair to a healthy pair. The tests go down one road, in order.
 */
describe('a pair under load', () => {
  const work = join(LAB, 'failover');
  const outcomes: Outcome[] = [];
  let lab: Lab | undefined;
  let pair: Given;

  beforeAll(async () => {
    await rm(work, { recursive: true, force: true });
    const packed = await packager({ quiet: true, work });
    const next = await nextRelease(packed, { quiet: true });
    lab = await startLab(MACHINES);
    await carryToJump(lab, packed, await firstSite(lab, packed));
    pair = await given(lab, packed, next);
  }, INSTALLED_MS);
  afterAll(async () => {
    for (const line of table(outcomes)) process.stdout.write(`${line}\n`);
    await lab?.down();
  });

  const typeOnJump = async (run: GuideRun): Promise<void> => {
    const { packed } = pair;
    const cwd = run.cwd ?? `${MEDIUM}/${packed.stem}`;
    const done = await pair.lab.exec(JUMP, ['sh', '-c', scriptOf(run, cwd, packed)], {
      timeoutMs: INSTALLED_MS,
    });
    expect(done.exitCode, done.stdout).toBe(0);
    expect(done.stdout).toMatch(run.shows);
    const after = await pair.lab.exec(JUMP, ['sh', '-c', run.after ?? ':']);
    expect(after.exitCode, `${run.after ?? ''}\n${after.stdout}${after.stderr}`).toBe(0);
  };
  const named = (runs: readonly GuideRun[]): [string, GuideRun][] => runs.map((run) => [titleOf(run), run]);

  it.each(named(JUMP_FIRST_RUNS))('is brought up by %s', (_, run) => typeOnJump(run), INSTALLED_MS);

  it('agrees on who holds the VIP, and both nodes see their backends', async () => {
    const { active, standby } = await healthyPair(pair.lab);
    expect([active, standby].sort()).toEqual(['lb1', 'lb2']);
  });

  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    'keeps the goal: %s',
    async (_, scenario) => {
      const outcome = await measure(pair, scenario);
      outcomes.push(outcome);
      expect(outcome.load.retried).toBeGreaterThan(50);
      expect(missed(outcome), JSON.stringify({ ...outcome.load, ...outcome.vip })).toEqual([]);
    },
    INSTALLED_MS,
  );

  it.each(named(JUMP_NEXT_RUNS))('%s', (_, run) => typeOnJump(run), INSTALLED_MS);
});
