/*
 * npm run faults: an installation is broken on purpose, and has to end as an unbroken one. docs/fault-campaign.md
 *   -- --long           every point, not a sample
 *   -- --only A,B       some groups
 *   -- --seed N         what is drawn at random; printed
 *   -- --minutes N      begins no further case after that time; each group gets its share
 *   -- --nodes N        machines side by side (default 2)
 *   -- --json           one JSON object a group
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { campaign, GROUPS } from './campaign.js';
import type { GroupResult } from './tally.js';
import { lastLine, renderTable } from './tally.js';

const { values } = parseArgs({
  options: {
    long: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    nodes: { type: 'string', default: '2' },
  },
});
const say = (text: string): void => {
  (values.json ? process.stderr : process.stdout).write(`${text}\n`);
};
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const groups = values.only?.split(',') ?? GROUPS;
const unknown = groups.filter((name) => !GROUPS.includes(name));
if (unknown.length > 0) {
  throw new Error(`no group is called ${unknown.join(', ')}; there are: ${GROUPS.join(', ')}`);
}
say(`faults: seed ${String(seed)}, ${values.long ? 'long' : 'short'} form: ${groups.join(', ')}`);

const show = (result: GroupResult): void => {
  if (values.json)
    process.stdout.write(`${JSON.stringify({ ...result, form: values.long ? 'long' : 'short' })}\n`);
  say(
    `${result.group}: ${String(result.cases)} of ${String(result.planned)} cases, ${String(result.fired)} fired, ${String(result.converged)} converged, ${String(result.void)} void (${result.seconds.toFixed(0)} s)${result.note === undefined ? '' : `; ${result.note}`}`,
  );
  for (const { id, what } of result.failures) say(`  FAILED ${id}: ${what}`);
};

const results = await campaign({
  long: values.long,
  seed,
  groups,
  nodes: Number(values.nodes),
  budgetMs: values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000,
  onGroup: show,
});
say(renderTable(results));
say(lastLine(results));
process.exitCode = results.some((result) => result.failures.length > 0) ? 1 : 0;
