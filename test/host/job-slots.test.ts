import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { JobSlots } from '../../src/host/job-slots.js';
import { localHost } from '../../src/host/local.js';
import { temporaryFolder } from './rooted.js';

const host = localHost();

/** Each job notes how many are at work with it, in whichever make. */
const JOBS = [
  'all: $(addprefix job,$(JOBS))',
  'job%:',
  "\t@mkdir '$(AT)/$(NAME)$@' && ls '$(AT)' | grep -c job >>'$(SEEN)'; sleep 0.2; rmdir '$(AT)/$(NAME)$@'",
  '',
].join('\n');

interface Workplace {
  readonly folder: string;
  /** Runs that many jobs. @param name tells its jobs from another make's */
  make(name: string, jobs: number, slots: JobSlots): Promise<void>;
  /** The most jobs that were at work at the same time. */
  most(): number;
}

async function workplace(): Promise<Workplace> {
  const folder = temporaryFolder();
  await host.makeDirectory(path.join(folder, 'at'), { mode: 0o700 });
  writeFileSync(path.join(folder, 'Makefile'), JOBS);
  const seen = path.join(folder, 'seen');
  return {
    folder,
    async make(name, jobs, { descriptors, makeFlags }) {
      const words = [`AT=${folder}/at`, `SEEN=${seen}`, `NAME=${name}`];
      const list = Array.from({ length: jobs }, (_, index) => index).join(' ');
      const log = path.join(folder, `${name}.log`);
      const done = await host.runLogged(['make', ...words, `JOBS=${list}`], log, {
        cwd: folder,
        env: { MAKEFLAGS: makeFlags },
        descriptors,
      });
      expect({ exitCode: done.exitCode, log: readFileSync(log, 'utf8') }).toEqual({ exitCode: 0, log: '' });
    },
    most: () => Math.max(...readFileSync(seen, 'utf8').trim().split('\n').map(Number)),
  };
}

async function slotsIn(folder: string, processors: number, sharers: number): Promise<JobSlots> {
  const slots = await host.jobSlots(path.join(folder, 'slots'), { processors, sharers });
  if (slots === undefined) throw new Error('no slots could be made');
  onTestFinished(() => {
    slots.close();
  });
  return slots;
}

describe('slots for jobs', () => {
  it('leave no name behind', async () => {
    const folder = temporaryFolder();
    await slotsIn(folder, 3, 1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('let a make run one job and one more for each, and get all of them back', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 3, 1);
    for (const name of ['first', 'second']) await at.make(name, 7, slots);
    expect(at.most()).toBe(3);
  });

  it('are shared by makes that run at the same time', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 3, 2);
    await Promise.all(['a', 'b'].map((name) => at.make(name, 6, slots)));
    expect(at.most()).toBe(3);
  });

  it('grow when somebody has ended, while a make is at work', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 2, 2);
    const other = at.make('long', 8, slots);
    await at.make('short', 1, slots);
    slots.ended();
    await other;
    // Of the two that had one each, the one that is left has both.
    expect(at.most()).toBe(2);
    expect(readFileSync(path.join(at.folder, 'seen'), 'utf8').trim().split('\n').slice(-2)).toContain('2');
  });

  it('do not grow where there are fewer processors than builds', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 2, 3);
    slots.ended();
    await at.make('left', 5, slots);
    expect(at.most()).toBe(1);
    slots.ended();
    await at.make('later', 5, slots);
    expect(at.most()).toBe(2);
  });

  it('hold nobody up when somebody has filled the pipe', () => {
    // In a process of its own, which a write that waits would keep for ever.
    const script = [
      "import { writeSync } from 'node:fs';",
      "import { openJobSlots } from './src/host/job-slots.ts';",
      `const slots = await openJobSlots(${JSON.stringify(path.join(temporaryFolder(), 'slots'))}, { processors: 2, sharers: 2 });`,
      "writeSync(slots.descriptors[1], '+'.repeat(65_536));",
      'slots.ended();',
      "console.log('went on');",
    ].join('\n');
    const words = ['--import', 'tsx', '--input-type=module', '-e', script];
    const done = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 15_000 });
    expect([done.stdout, done.stderr, done.signal]).toEqual(['went on\n', '', null]);
  });

  it('are not there where the pipe cannot be made, or its name is taken', async () => {
    const folder = temporaryFolder();
    const counts = { processors: 2, sharers: 1 };
    expect(await host.jobSlots(path.join(folder, 'no', 'slots'), counts)).toBeUndefined();
    writeFileSync(path.join(folder, 'file'), 'kept');
    expect(await host.jobSlots(path.join(folder, 'file'), counts)).toBeUndefined();
    expect(readFileSync(path.join(folder, 'file'), 'utf8')).toBe('kept');
  });

  it('are no longer added once they are closed', async () => {
    const slots = await slotsIn(temporaryFolder(), 2, 2);
    slots.close();
    expect(() => {
      slots.ended();
    }).not.toThrow();
  });
});
