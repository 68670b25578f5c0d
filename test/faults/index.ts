import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { parseBroken } from './broken.js';
import { again, campaign, GOES_ON, GROUPS, SHORT_GROUPS } from './campaign.js';
import { parseDone, parsePart } from './options.js';
import type { Ended, GroupResult } from './tally.js';
import { lastLine, renderTable } from './tally.js';

const USAGE = `npm run faults: an installation is broken on purpose, and has to end as an unbroken one. docs/fault-campaign.md
  -- --long           every point, not a sample
  -- --only A,B       some groups
  -- --seed N         what is drawn at random; printed
  -- --minutes N      begins no further case after that time; each group gets its share
  -- --part 1/3       of the cases on a node every third; parts of one seed are the whole together
  -- --done A=N/P     goes on behind the first N cases of that group, of P that were planned in a run with the same seed
  -- --nodes N        machines side by side (default 2)
  -- --case C         one case, as a failed one is named; more than once for more of them
  -- --json           one JSON object a group
`;

class UsageError extends Error {}
const wrong = (what: string): never => {
  throw new UsageError(what);
};
const read = <T>(words: () => T): T => {
  try {
    return words();
  } catch (cause) {
    return wrong(cause instanceof Error ? cause.message : String(cause));
  }
};

async function main(): Promise<void> {
  const { values } = read(() =>
    parseArgs({
      options: {
        long: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        only: { type: 'string' },
        case: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string' },
        minutes: { type: 'string' },
        part: { type: 'string' },
        done: { type: 'string' },
        nodes: { type: 'string', default: '2' },
        help: { type: 'boolean', default: false },
      },
    }),
  );
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }

  const say = (text: string): void => {
    (values.json ? process.stderr : process.stdout).write(`${text}\n`);
  };
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  const groups = values.only?.split(',') ?? (values.long ? GROUPS : SHORT_GROUPS);
  const unknown = groups.filter((name) => !GROUPS.includes(name));
  if (unknown.length > 0) wrong(`no group is called ${unknown.join(', ')}; there are: ${GROUPS.join(', ')}`);
  for (const name of ['seed', 'minutes', 'nodes'] as const)
    if (
      values[name] !== undefined &&
      !(/^\d+$/.test(values[name]) && (name === 'seed' || Number(values[name]) > 0))
    )
      wrong(`--${name} ${values[name]}: a whole number is needed`);
  // What stands behind the words of a case is for a person.
  const cases = values.case.map((text) => read(() => parseBroken(text.replace(/ .*/, ''))));
  const part = values.part;
  const done = values.done;
  const limits = {
    ...(part === undefined ? {} : { part: read(() => parsePart(part)) }),
    ...(done === undefined ? {} : { done: read(() => parseDone(done, GOES_ON)) }),
  };
  say(
    cases.length > 0
      ? `faults: ${String(cases.length)} cases again`
      : `faults: seed ${String(seed)}, ${values.long ? 'long' : 'short'} form: ${groups.join(', ')}`,
  );

  const show = (result: GroupResult): void => {
    if (values.json)
      process.stdout.write(`${JSON.stringify({ ...result, form: values.long ? 'long' : 'short' })}\n`);
    say(
      `${result.group}: ${String(result.cases)} of ${String(result.planned)} cases, ${String(result.fired)} fired, ${String(result.converged)} converged, ${String(result.void)} void (${result.seconds.toFixed(0)} s)${result.note === undefined ? '' : `; ${result.note}`}`,
    );
    for (const { id, what } of result.failures) say(`  FAILED ${id}: ${what}`);
  };

  const EVERY = 100;
  /** A run of hours has to say how far it is, and what failed at once. */
  const progress = ({ group, id, problem, done }: Ended): void => {
    if (problem !== undefined) process.stderr.write(`FAILED ${id}: ${problem}\n`);
    if (done % EVERY === 0) process.stderr.write(`${group}: ${String(done)} cases\n`);
  };
  const common = { seed, nodes: Number(values.nodes), onGroup: show, onCase: progress };
  const results =
    cases.length > 0
      ? await again(cases, common)
      : await campaign({
          ...common,
          long: values.long,
          ...limits,
          groups,
          budgetMs: values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000,
        });
  say(renderTable(results));
  say(lastLine(results));
  process.exitCode = results.some((result) => result.failures.length > 0) ? 1 : 0;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`faults: ${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
