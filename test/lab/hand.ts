import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { childrenCpuMs } from './cpu-times.js';
import { docker, run } from './docker.js';
import { LabError } from './errors.js';
import { collectorImage } from './images.js';
import { startLab, type Lab } from './machines.js';
import { HERE, LAB } from './paths.js';
import { say } from './progress.js';
import { labRepository } from './repository.js';
import { serveRepository } from './serve.js';
import { labSources, type LabSources } from './sources.js';

const SCRIPTS = path.join(HERE, 'hand');
const TIMED = 'sh "$0"; code=$?; times; exit $code';

/** Seconds that each part of the procedure took, typed by hand. */
export interface HandTimes {
  collectS: number;
  carryS: number;
  rpmsS: number;
  haproxyS: number;
  keepalivedS: number;
}

export interface HandReport {
  readonly times: HandTimes;
  /** User and system time of the installation: rpm and both builds. */
  readonly cpuMs: number;
  readonly rpms: number;
  /** First lines of `haproxy -v` and `keepalived --version`. */
  readonly versions: Readonly<Record<'haproxy' | 'keepalived', string>>;
  readonly sources: LabSources;
}

const clock = async (work: () => Promise<void>): Promise<number> => {
  const startMs = performance.now();
  await work();
  return Math.round((performance.now() - startMs) / 100) / 10;
};

/** The closure of the seed's packages, by yum in the collector, into `folder`/rpms. */
const collect = async (folder: string): Promise<void> => {
  const { dir } = await labRepository();
  const served = await serveRepository({ dir });
  try {
    await docker([
      ...['run', '--rm', '--ulimit', 'nofile=1024:1024', '-v', `${folder}:/x`],
      ...['-v', `${SCRIPTS}:/scripts:ro`, await collectorImage(), 'sh', '/scripts/collect.sh'],
      served.url,
    ]);
  } finally {
    await served.close();
  }
};

const exportSources = async (folder: string, sources: LabSources): Promise<void> => {
  for (const [name, source] of Object.entries(sources))
    await run([
      ...['git', '-c', 'safe.directory=*', '-c', 'core.abbrev=40', '-C', source.url, 'archive'],
      ...['--format=tar', `--prefix=${name}/`, '-o', path.join(folder, `${name}.tar`), source.ref],
    ]);
};

const carry = async (lab: Lab, node: string, folder: string): Promise<void> => {
  await step(lab, node, ['mkdir', '-p', '/root/hand']);
  await lab.copyIn(node, path.join(folder, 'rpms'), '/root/hand/');
  for (const name of ['haproxy', 'keepalived']) {
    await lab.copyIn(node, path.join(folder, `${name}.tar`), '/root/hand/');
    await step(lab, node, ['tar', '-C', '/root/hand', '-xf', `/root/hand/${name}.tar`]);
  }
  await lab.copyIn(node, SCRIPTS, '/root/hand/scripts');
};

/** Runs one step on the node. @returns stdout; @throws LabError with its last lines */
const step = async (lab: Lab, node: string, argv: readonly string[]): Promise<string> => {
  const done = await lab.exec(node, argv);
  if (done.exitCode !== 0)
    throw new LabError(
      `${argv.join(' ')} on ${node}: exit ${done.exitCode}`,
      `read its last lines:\n${`${done.stdout}\n${done.stderr}`.split('\n').slice(-40).join('\n')}`,
    );
  return done.stdout;
};

/**
 * The seed's procedure as it is typed by hand, on a new node: the baseline for timings, and the
 * proof that the lab can do it.
 * @param clones folder with clones of the real upstreams; see {@link labSources}
 */
export const byHand = async (clones?: string): Promise<HandReport> => {
  const sources = await labSources(clones);
  await mkdir(LAB, { recursive: true });
  const folder = await mkdtemp(path.join(LAB, 'hand-'));
  const lab = await startLab({ nodes: ['hand'] });
  try {
    const collectS = await clock(() => collect(folder));
    const rpms = (await readdir(path.join(folder, 'rpms'))).length;
    say(`${rpms} RPMs collected: ${collectS} s`);
    await exportSources(folder, sources);
    const carryS = await clock(() => carry(lab, 'hand', folder));
    const times: Partial<HandTimes> = { collectS, carryS };
    const out: Record<string, string> = {};
    let cpuMs = 0;
    for (const part of ['rpms', 'haproxy', 'keepalived'] as const) {
      times[`${part}S`] = await clock(async () => {
        out[part] = await step(lab, 'hand', ['sh', '-c', TIMED, `/root/hand/scripts/${part}.sh`]);
        cpuMs += childrenCpuMs(out[part]);
      });
      say(`${part} by hand: ${times[`${part}S`]} s`);
    }
    const line = (text: string | undefined, word: RegExp): string =>
      (text ?? '').split('\n').find((one) => word.test(one)) ?? 'no version';
    return {
      times: times as HandTimes,
      cpuMs,
      rpms,
      versions: {
        haproxy: line(out['haproxy'], /^HA-?Proxy version/),
        keepalived: line(out['keepalived'], /^Keepalived v\d/),
      },
      sources,
    };
  } finally {
    await lab.down();
    await rm(folder, { recursive: true, force: true });
  }
};

if (process.argv[1] === path.join(HERE, 'hand.ts')) {
  const { values } = parseArgs({ options: { sources: { type: 'string' } } });
  byHand(values.sources).then(
    (report) => console.log(JSON.stringify(report, null, 2)),
    (error: unknown) => {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    },
  );
}
