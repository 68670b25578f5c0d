import { beforeAll, describe, expect, it } from 'vitest';
import { seedFor } from '../support/seed.js';
import { campaign, SHORT_GROUPS } from './campaign.js';
import type { GroupResult } from './tally.js';
import { lastLine, renderTable } from './tally.js';

/*
 * The short form of the campaign: every group but the demo's installation, as many of its cases as this time allows, in an order that
 * is another one each run. All of it: npm run faults -- --long
 */
const BUDGET_MS = 120_000;
const NODES = 4;

describe('an installation that is broken on purpose', () => {
  const results = new Map<string, GroupResult>();
  let seed = 0;

  beforeAll(async () => {
    seed = seedFor('faults');
    await campaign({
      long: false,
      seed,
      groups: SHORT_GROUPS,
      nodes: NODES,
      budgetMs: BUDGET_MS,
      onGroup: (result) => results.set(result.name ?? '', result),
    });
    process.stdout.write(`${renderTable([...results.values()])}\n${lastLine([...results.values()])}\n`);
  });

  it.each(SHORT_GROUPS)('converges: %s', (name) => {
    const result = results.get(name);
    expect(result?.failures, `seed ${String(seed)}`).toEqual([]);
    // A group in which nothing was broken has shown nothing.
    expect(result?.fired).toBeGreaterThan(0);
  });
});
