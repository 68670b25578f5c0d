import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { node16 } from '../lab/backend-image.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { renewRpmdb } from '../lab/rpmdb.js';
import { callVip, carry, chain, MEDIUM, settled } from '../lab/walk/operator.js';
import type { PackedBundle } from '../lab/walk/packager.js';
import { packager } from '../lab/walk/packager.js';
import { compilerCache, keepCompilerCache, useCompilerCache } from './compiler-cache.js';
import { documentDifferences } from './documents.js';
import type { Options } from './options.js';
import type { Attempt, Look, Strike, Subject } from './protocol.js';
import { differences, digestOf } from './state.js';
import { makeDriver } from './stage.js';
import type { GroupResult } from './tally.js';
import { randomFrom, Tally } from './tally.js';

/*
 * The demo's installation, broken off: real RPMs, real builds, haproxy and keepalived, and calls through the
 * VIP at its end. A node is thrown away after each case. What its gcc has compiled once comes out of a cache.
 */

const HOME = '/opt/faults';
const NODE = 'lb1';
const SHORT = 1;
const LONG = 30;
const CALLS = 20;
/** A kill that came too late is tried again, each time after half of the time. */
const EARLIER = 3;
const COMMAND_MS = 20 * 60_000;
/** Half as much as the 16 nodes of the other groups have together: its cases are one after the other. */
const CPU_SHARES = 8 * 1024;

const SUBJECT: Subject = {
  units: ['haproxy.service', 'keepalived.service'],
  packages: ['haproxy', 'keepalived'],
  folders: ['/var/lib/haproxy', '/var/lib/keepalived'],
  differing: ['^/etc/machine-id$', '^/etc/ssh/ssh_host_'],
  answers: false,
  commandMs: COMMAND_MS,
};

let made: ReturnType<typeof packager> | undefined;
/** The demo's bundle, packed once. */
export const realBundle = (): ReturnType<typeof packager> => (made ??= packager({ quiet: true }));

interface Tools {
  readonly node: string;
  readonly driver: string;
  readonly subject: string;
  /** A folder of `compilerCache`. */
  readonly compiled: string;
}

/** A fresh node with the medium and the driver. */
async function freshNode(lab: Lab, packed: PackedBundle, tools: Tools, isFirst: boolean): Promise<void> {
  if (!isFirst) await lab.renew(NODE);
  await carry(lab, NODE, packed);
  await renewRpmdb(lab, NODE);
  await lab.exec(NODE, ['mkdir', '-p', HOME]);
  await lab.copyIn(NODE, tools.node, `${HOME}/node`);
  await lab.copyIn(NODE, tools.driver, `${HOME}/driver.cjs`);
  await lab.copyIn(NODE, tools.subject, `${HOME}/subject.json`);
  await lab.exec(NODE, ['chmod', '755', `${HOME}/node`]);
  await useCompilerCache(lab, NODE, tools.compiled);
}

async function driver<T>(lab: Lab, word: string, input = ''): Promise<T> {
  const done = await lab.exec(NODE, [`${HOME}/node`, `${HOME}/driver.cjs`, word], {
    input,
    timeoutMs: COMMAND_MS + 60_000,
  });
  if (done.exitCode !== 0)
    throw new Error(`driver ${word}: exit ${String(done.exitCode)}\n${done.stdout}${done.stderr}`);
  return JSON.parse(done.stdout) as T;
}

const strike = (lab: Lab, command: string, fault: Strike['fault']): Promise<Attempt> =>
  driver<Attempt>(lab, 'strike', JSON.stringify({ command, fault } satisfies Strike));

/** What serves: the services, the VIP, the backends, and every call. */
async function servingProblem(lab: Lab): Promise<string | undefined> {
  await settled(lab, NODE);
  const { replies, errors } = await callVip(lab, CALLS);
  const answered = Object.values(replies).reduce((sum, count) => sum + count, 0);
  return answered === CALLS
    ? undefined
    : `${String(answered)} of ${String(CALLS)} calls were answered: ${JSON.stringify(errors)}`;
}

interface End {
  readonly look: Look;
  readonly digest: string;
}

async function endOf(lab: Lab): Promise<End> {
  const look = await driver<Look>(lab, 'look');
  return { look, digest: digestOf(new Map(look.state)) };
}

const differing = (wanted: Look, found: Look): string[] => {
  const paths = differences(new Map(wanted.state), new Map(found.state));
  return paths.length === 0 ? [] : [...paths, ...documentDifferences(wanted.documents, found.documents)];
};

const seconds = (ms: number): string => (ms / 1000).toFixed(0);

/** The command, which nobody breaks off. @throws Error when it or what it set up does not do its work */
async function unbroken(lab: Lab, command: string): Promise<Attempt & { readonly end: End }> {
  const whole = await strike(lab, command, {});
  if (whole.exit !== 0) throw new Error(`the unbroken run: exit ${String(whole.exit)}\n${whole.said}`);
  const problem = await servingProblem(lab);
  if (problem !== undefined) throw new Error(`the unbroken run: ${problem}`);
  return { ...whole, end: await endOf(lab) };
}

interface Kill {
  /** The step in which it happens, as it is printed; undefined: before the first. */
  readonly line: string | undefined;
  readonly afterMs: number;
  /** rpm, builds and the lock die too, as in a power cut; otherwise the program alone. */
  readonly power: boolean;
}

/** Said by step, so that it hits the same work on a machine that is slower or faster by then. */
function killAt(moment: number, { steps = [] }: Attempt, power: boolean): Kill {
  const [begunMs, line] = [...steps].reverse().find(([ms]) => ms <= moment) ?? [0, undefined];
  return { line, afterMs: moment - begunMs, power };
}

const inWords = ({ line, afterMs, power }: Kill): string =>
  `${power ? 'everything' : 'the program'} ${String(afterMs)} ms after ${line === undefined ? 'the beginning' : `"${line.slice(4)}"`}`;

export async function realGroup(options: Options): Promise<GroupResult> {
  const tally = new Tally(
    "kills at random moments of the demo's installation",
    'the same command again ends as the unbroken run, and every call through the VIP is answered',
    options,
  );
  tally.planned = options.long ? LONG : SHORT;
  const work = mkdtempSync(path.join(tmpdir(), 'airbundle-real-'));
  const bundle = await realBundle();
  // The same medium for all cases, whoever packs again meanwhile.
  const packed = { ...bundle, folder: path.join(work, bundle.stem) };
  cpSync(bundle.folder, packed.folder, { recursive: true });
  const lab = await startLab({ nodes: [NODE], backends: ['tts1', 'tts2'], cpuShares: CPU_SHARES });
  try {
    const subject = path.join(work, 'subject.json');
    writeFileSync(subject, JSON.stringify(SUBJECT));
    const tools = {
      node: await node16(),
      driver: await makeDriver(work),
      subject,
      compiled: await compilerCache(work),
    };
    const command = `cd ${MEDIUM}/${packed.stem} && ${chain(packed, NODE)}`;

    await freshNode(lab, packed, tools, true);
    const compiled = await unbroken(lab, command);
    const warm = { ...tools, compiled: await keepCompilerCache(lab, NODE, work) };
    await freshNode(lab, packed, warm, false);
    const whole = await unbroken(lab, command);
    const wanted = whole.end;
    const unlike = differing(compiled.end.look, wanted.look);
    if (unlike.length > 0)
      throw new Error(`out of the compiler's cache came something else: ${unlike.slice(0, 12).join('; ')}`);
    tally.note = `the unbroken run took ${seconds(compiled.ms)} s, and ${seconds(whole.ms)} s once everything was compiled; its state ${wanted.digest.slice(0, 16)}`;

    let advised = 0;
    const below = randomFrom(options.seed + 8);
    for (let round = 0; round < tally.planned; round += 1) {
      // A group without a case has shown nothing.
      if (round > 0 && performance.now() > options.deadline) break;
      let kill = killAt(500 + below(whole.ms - 500), whole, below(2) === 0);
      await freshNode(lab, packed, warm, false);
      let ended = await killed(lab, command, kill, wanted.look);
      // The unbroken run may have been slower than this one, which was over by then.
      for (let earlier = 0; earlier < EARLIER && !ended.fired; earlier += 1) {
        kill = { ...kill, afterMs: Math.floor(kill.afterMs / 2) };
        await freshNode(lab, packed, warm, false);
        ended = await killed(lab, command, kill, wanted.look);
      }
      if (ended.advised === true) advised += 1;
      tally.add(inWords(kill), ended);
    }
    tally.countAdvised(advised);
    return tally.result();
  } finally {
    await lab.down();
    rmSync(work, { recursive: true, force: true });
  }
}

interface Killed {
  readonly fired: boolean;
  readonly problem: string | undefined;
  readonly digest?: string;
  readonly advised?: boolean;
}

/** What the campaign itself could not do is a case that failed, and not its end. */
const killed = (lab: Lab, command: string, kill: Kill, wanted: Look): Promise<Killed> =>
  attemptKill(lab, command, kill, wanted).catch((error: unknown) => ({
    fired: true,
    problem: `the case could not be judged: ${String(error)}`,
  }));

async function attemptKill(
  lab: Lab,
  command: string,
  { line, afterMs, power }: Kill,
  wanted: Look,
): Promise<Killed> {
  const first = await strike(lab, command, {
    killAfterMs: afterMs,
    everything: power,
    ...(line === undefined ? {} : { killAfterLine: line }),
  });
  const fired = first.fired !== undefined;
  if (!fired && first.exit === 0) return { fired, problem: undefined };
  const again = await strike(lab, command, power ? 'power cut before' : {});
  if (again.exit !== 0)
    return {
      fired,
      problem: `the same command again: exit ${String(again.exit)}\n${again.said.slice(-800)}`,
    };
  const problem = await servingProblem(lab).catch((error: unknown) => String(error));
  const { look, digest } = await endOf(lab);
  const found = differing(wanted, look);
  return {
    fired,
    digest,
    advised: again.advised === true,
    problem: problem ?? (found.length === 0 ? undefined : `differs: ${found.slice(0, 12).join('; ')}`),
  };
}
