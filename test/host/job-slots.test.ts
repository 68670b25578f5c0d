import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { JobShare, JobSlots } from '../../src/host/job-slots.js';
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
  make(name: string, jobs: number, share: JobShare | undefined): Promise<void>;
  /** For each of its jobs how many were at work when it began, the other makes' among them. */
  seen(name: string): number[];
}

async function workplace(): Promise<Workplace> {
  const folder = temporaryFolder();
  await host.makeDirectory(path.join(folder, 'at'), { mode: 0o700 });
  writeFileSync(path.join(folder, 'Makefile'), JOBS);
  const seen = (name: string): string => path.join(folder, `${name}.seen`);
  return {
    folder,
    async make(name, jobs, share) {
      if (share === undefined) throw new Error(`nothing is shared with ${name}`);
      const { descriptors, makeFlags } = share;
      const words = [`AT=${folder}/at`, `SEEN=${seen(name)}`, `NAME=${name}`];
      const list = Array.from({ length: jobs }, (_, index) => index).join(' ');
      const log = path.join(folder, `${name}.log`);
      const done = await host.runLogged(['make', ...words, `JOBS=${list}`], log, {
        cwd: folder,
        env: { MAKEFLAGS: makeFlags },
        descriptors,
      });
      expect({ exitCode: done.exitCode, log: readFileSync(log, 'utf8') }).toEqual({ exitCode: 0, log: '' });
    },
    seen: (name) => readFileSync(seen(name), 'utf8').trim().split('\n').map(Number),
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
    const { shares } = await slotsIn(at.folder, 3, 1);
    for (const name of ['first', 'second']) {
      await at.make(name, 7, shares[0]);
      expect(Math.max(...at.seen(name))).toBe(3);
    }
  });

  it('are shared by makes that run at the same time', async () => {
    const at = await workplace();
    const { shares } = await slotsIn(at.folder, 3, 2);
    await Promise.all(['a', 'b'].map((name, index) => at.make(name, 6, shares[index])));
    expect(Math.max(...at.seen('a'), ...at.seen('b'))).toBe(3);
  });

  it('grow when somebody has ended, while a make is at work', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 2, 2);
    const other = at.make('long', 8, slots.shares[0]);
    await at.make('short', 1, slots.shares[1]);
    slots.ended();
    await other;
    // Of the two that had one each, the one that is left has both.
    expect(Math.max(...at.seen('long'))).toBe(2);
    expect(at.seen('long').slice(-2)).toContain(2);
  });

  it('do not grow where there are fewer processors than builds', async () => {
    const at = await workplace();
    const slots = await slotsIn(at.folder, 2, 3);
    slots.ended();
    await at.make('left', 5, slots.shares[0]);
    expect(Math.max(...at.seen('left'))).toBe(1);
    slots.ended();
    await at.make('last', 5, slots.shares[0]);
    expect(Math.max(...at.seen('last'))).toBe(2);
  });

  it('are found by each make in descriptions of its own: what one sets on its own is not set on the other', async () => {
    const { shares } = await slotsIn(temporaryFolder(), 2, 2);
    const flags = (index: number, end: 0 | 1): string =>
      readFileSync(`/proc/self/fdinfo/${String(shares[index]?.descriptors[end])}`, 'utf8');
    const before = [flags(1, 0), flags(1, 1)];
    // What a make of 4.3 does at its start, and what a build could do to the other end.
    const set =
      'use Fcntl; for (3, 4) { open(my $end, $_ == 3 ? "<&=3" : ">&=4") or die; fcntl($end, F_SETFL, O_NONBLOCK) or die }';
    const done = spawnSync('perl', ['-e', set], {
      stdio: ['ignore', 'pipe', 'pipe', ...(shares[0]?.descriptors ?? [])],
      encoding: 'utf8',
    });
    expect([done.status, done.stderr]).toEqual([0, '']);
    expect(flags(0, 0)).not.toBe(before[0]);
    expect([flags(1, 0), flags(1, 1)]).toEqual(before);
  });

  it('hold nobody up when somebody has filled the pipe', () => {
    // In a process of its own, which a write that waits would keep for ever.
    const script = [
      "import { writeSync } from 'node:fs';",
      "import { openJobSlots } from './src/host/job-slots.ts';",
      `const slots = await openJobSlots(${JSON.stringify(path.join(temporaryFolder(), 'slots'))}, { processors: 2, sharers: 2 });`,
      "writeSync(slots.shares[0].descriptors[1], '+'.repeat(65_536));",
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

  it('are no longer added once they are closed, to whatever has got the number of the pipe', async () => {
    const folder = temporaryFolder();
    const slots = await slotsIn(folder, 2, 2);
    slots.close();
    const files = Array.from({ length: 8 }, (_, index) => path.join(folder, `other${String(index)}`));
    const descriptors = files.map((file) => openSync(file, 'w'));
    slots.ended();
    for (const descriptor of descriptors) closeSync(descriptor);
    expect(files.map((file) => readFileSync(file, 'utf8'))).toEqual(files.map(() => ''));
  });
});
