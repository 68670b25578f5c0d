import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { ROOT } from '../lab/paths.js';
import type { Figure } from './harness.js';
import { table } from './table.js';

/*
 * The short form of npm run bench, of what needs no lab: that it runs and prints its table. No ratio is asserted:
 * another process on the machine must not fail a test. What must not grow is counted in work.test.ts.
 */
const GROUPS = 'start-up,pack,verify,stage,growth';

const Line = z.object({
  name: z.string(),
  ratio: z.number().nullable(),
  goal: z.number().nullable(),
  met: z.boolean().nullable(),
  ours: z.number().positive(),
  theirs: z.number().positive().nullable(),
  unit: z.enum(['s', 'MiB', 'KiB']),
});

it('npm run bench -- --short prints a figure for each comparison', { timeout: 600_000 }, () => {
  const words = ['--import', 'tsx', 'test/bench/index.ts', '--short', '--json', '--only', GROUPS];
  const done = spawnSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' });
  expect(done.status, done.stderr).toBe(0);
  const lines = done.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Figure);
  process.stdout.write(`${table(lines)}\n`);
  const names = lines.map((line) => Line.parse(line).name);
  for (const name of [
    'bundle --version ÷ node -e 0',
    'pack 32 MiB in 4 MiB files ÷ one pass',
    'pack 32 MiB in 4 MiB files ÷ tar | tee | sha256sum',
    'verify 32 MiB in 4 MiB files ÷ openssl dgst -sha256',
    'bundle verify 32 MiB in 4 MiB files ÷ sha256sum -c',
    'stage 32 MiB in 4 MiB files ÷ cp, sha256sum -c, tar -xf',
    'plan with 5000 packages on the node ÷ 10 × plan with 500 packages on the node',
  ])
    expect(names).toContain(name);
  // DESIGN's goal for memory does not depend on who else is at work.
  const peaks = lines.filter(({ unit, goal }) => unit === 'MiB' && goal !== null);
  expect(peaks.filter(({ met }) => met !== true)).toEqual([]);
  expect(peaks.length).toBeGreaterThan(0);
});
