/*
 * npm run bench: what this program takes, beside what people use instead, in one run.
 *   -- --only NAMES    some of the groups, with commas between
 *   -- --short         small payloads: about a minute (test/bench/short.node.test.ts runs it in CI)
 *   -- --json          one object a line instead of the table
 *   -- --markdown      the table of docs/performance.md
 * The exit code is 0 also where a goal is missed: the numbers speak.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { LAB } from '../lab/paths.js';
import type { Figure, Group, Skipped } from './harness.js';
import { commands, markdown, table } from './table.js';

const GROUPS: Readonly<Record<string, () => Promise<Group>>> = {
  'start-up': async () => (await import('./start-up.js')).startUp,
  pack: async () => (await import('./pack.js')).pack,
  verify: async () => (await import('./verify.js')).verify,
  stage: async () => (await import('./stage.js')).stage,
  growth: async () => (await import('./growth.js')).growth,
  create: async () => (await import('./create.js')).create,
  install: async () => (await import('./install.js')).install,
  upload: async () => (await import('./upload.js')).upload,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
  },
});

const wanted = values.only?.split(',') ?? Object.keys(GROUPS);
const unknown = wanted.filter((name) => !(name in GROUPS));
if (unknown.length > 0) {
  console.error(`no group is called ${unknown.join(', ')}; there are: ${Object.keys(GROUPS).join(', ')}`);
  process.exit(2);
}

const say = (text: string): void => {
  process.stderr.write(`bench: ${text}\n`);
};

mkdirSync(LAB, { recursive: true });
const root = mkdtempSync(path.join(process.env['AIRBUNDLE_BENCH_DIR'] ?? LAB, 'bench-'));
const tidy = (): void => rmSync(root, { recursive: true, force: true });
process.on('exit', tidy);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

const results: (Figure | Skipped)[] = [];
const startedMs = performance.now();
for (const name of wanted) {
  const group = await GROUPS[name]?.();
  if (group === undefined) continue;
  say(`${name}: ${group.about}`);
  const scratch = mkdtempSync(path.join(root, `${name}-`));
  try {
    for await (const figure of group.run({ short: values.short, scratch, note: say })) {
      results.push(figure);
      if (values.json) console.log(JSON.stringify(figure));
    }
  } catch (error) {
    const skipped = `it failed: ${error instanceof Error ? error.message : String(error)}`;
    results.push({ name, skipped });
    if (values.json) console.log(JSON.stringify({ name, skipped }));
  }
  rmSync(scratch, { recursive: true, force: true });
}

if (!values.json) {
  console.log(
    [
      `${availableParallelism()} × ${cpus()[0]?.model ?? 'CPU'}, Linux ${release()}, Node ${process.versions.node}, load ${loadavg()[0]?.toFixed(1) ?? ''}, ${new Date().toISOString().slice(0, 10)}, ${((performance.now() - startedMs) / 60_000).toFixed(1)} min`,
      'ratio: ours ÷ theirs of the same round, the median of them; below 1, ours took less. Peak and fsync: ours / theirs.',
      '',
      values.markdown ? markdown(results) : table(results),
      '',
      'Compared:',
      ...commands(results).map((line) => `  ${line}`),
    ].join('\n'),
  );
}
process.exit(0);
