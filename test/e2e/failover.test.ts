import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstSite, given, MACHINES } from '../lab/failover/begin.js';
import { bringUp } from '../lab/failover/delivery.js';
import { measure, type Outcome } from '../lab/failover/measure.js';
import { healthyPair } from '../lab/failover/pair.js';
import { nextRelease } from '../lab/failover/release.js';
import { SCENARIOS, type Given } from '../lab/failover/scenarios.js';
import { missed, table } from '../lab/failover/verdict.js';
import { startLab, type Lab } from '../lab/machines.js';
import { LAB } from '../lab/paths.js';
import { packager } from '../lab/walk/packager.js';

/** Two nodes build at once; a machine with other work takes its time. */
const INSTALLED_MS = 30 * 60_000;

/*
 * A pair of load balancers installed from a bundle, VRRP between them, three gRPC backends, and a client that calls
 * fifty times a second while one thing after another fails. Each scenario goes from a healthy pair to a healthy pair.
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
    await bringUp(lab, packed, await firstSite(lab, packed));
    pair = await given(lab, packed, next);
  }, INSTALLED_MS);
  afterAll(async () => {
    for (const line of table(outcomes)) process.stdout.write(`${line}\n`);
    await lab?.down();
  });

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
  );
});
