import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { firstSite, given, MACHINES } from './failover/begin.js';
import { measure, type Outcome } from './failover/measure.js';
import { healthyPair } from './failover/pair.js';
import { nextRelease } from './failover/release.js';
import { SCENARIOS } from './failover/scenarios.js';
import { missed, table } from './failover/verdict.js';
import type { Lab } from './machines.js';
import { removeAbandonedLabs, startLab } from './machines.js';
import { ROOT } from './paths.js';
import {
  callVip,
  carry,
  chain,
  DESK,
  MEDIUM,
  nodeFacts,
  type NodeFacts,
  statusOf,
  type,
  typeLive,
} from './walk/operator.js';
import { listing, type PackedBundle, packager } from './walk/packager.js';

/*
 * The main job from end to end, on real parts: `npm run demo`. What is typed is shown with "$".
 *   -- --keep          leaves the lab up and says how to look around
 *   -- --build WAY     where the node builds: host (the manifest's own choice) or isolated
 *   -- --down          removes what --keep or a killed run left, not the labs of runs that go on
 *   -- --sources DIR   haproxy and keepalived from local clones of their upstreams
 */

const NODE = 'lb1';
const CALLS = 40;

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const indent = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');

/** Times of the parts, in order. */
const times: [string, number][] = [];
async function part<T>(name: string, work: () => Promise<T>): Promise<T> {
  say(`\n== ${name}`);
  const startMs = performance.now();
  const result = await work();
  times.push([name, performance.now() - startMs]);
  return result;
}

interface Wishes {
  readonly clones: string | undefined;
  readonly keep: boolean;
  readonly build: string | undefined;
}

async function demo({ clones, keep, build }: Wishes): Promise<string> {
  await part('build the command', () =>
    execa(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, stdout: 'ignore', stderr: 'inherit' }),
  );
  const packed = await part('the packager: bundle keygen, bundle create', () => create(clones));
  const next = await part('the packager: bundle create, the next release', () =>
    nextRelease(packed, { quiet: true, ...(clones === undefined ? {} : { clones }) }),
  );

  let lab: Lab | undefined;
  try {
    lab = await part('start two load balancers, three gRPC backends, a client, a jump host; no way out', () =>
      startLab(MACHINES),
    );
    const up = lab;
    const before = await closedNode(up, NODE);
    const site = await firstSite(up, packed);
    await part('carry the folder in', async () => {
      for (const node of MACHINES.nodes) await carry(up, node, packed, site);
    });
    await part('the operator: the plan, for both ways to build', () => showPlans(up, packed));
    await part('the operator: verify and install, on both nodes', () => install(up, packed, build));
    const status = await part('bundle status', async () => {
      await healthyPair(up);
      for (const node of MACHINES.nodes) say(indent((await up.exec(node, ['bundle', 'status'])).stdout));
      return statusOf(up, NODE);
    });
    const after = await nodeFacts(up, NODE);
    if (after.tools.length > 0) throw new Error(`the build left ${after.tools.join(', ')} on the node`);
    const answered = await part(`${String(CALLS)} gRPC calls over one connection to the VIP`, () => call(up));
    const againMs = await part('the same installation again', () => again(up, packed));
    const outcomes = await part('what fails, under 50 calls a second and six streams', () =>
      failures(up, packed, next),
    );

    say('\n== what this proved');
    say(`  the bundle was verified with openssl and sha256sum before anything of it ran`);
    say(`  ${status.versions.map((version) => version.text).join('; ')}`);
    say(
      `  built on nodes without compiler, git, Node, yum or a way out: ${String(before.rpms)} RPMs before, ${String(after.rpms)} after`,
    );
    say(
      `  no compiler is on a node afterwards: ${build === 'isolated' ? 'it was in a root of its own' : 'it was erased again'}`,
    );
    say(`  a second installation changed nothing, in ${seconds(againMs)}`);
    say(`  the bundle lies in ${packed.folder}`);
    const kept = tell(outcomes);
    say('\n== times');
    for (const [name, ms] of times) say(`  ${seconds(ms).padStart(8)}  ${name}`);
    if (keep) lookAround(up);
    if (kept < outcomes.length) throw new Error(`${String(outcomes.length - kept)} goals were missed`);
    const total = times.reduce((sum, [, ms]) => sum + ms, 0);
    return `${answered}; ${String(kept)} of ${String(outcomes.length)} goals of failover kept; ${String(before.rpms)} RPMs before, ${String(after.rpms)} after; ${seconds(total)}`;
  } finally {
    if (lab !== undefined && !keep) await lab.down();
  }
}

async function create(clones: string | undefined): Promise<PackedBundle> {
  say('$ bundle create manifests/tts-ha.yaml --key keys/packager.key.pem   (origins turned to the lab)');
  const made = await packager(clones === undefined ? {} : { clones });
  for (const source of [made.sources_.haproxy, made.sources_.keepalived])
    say(`  source ${source.ref} ${source.commit.slice(0, 12)}: ${source.origin}`);
  say(`  ${String(made.rpms)} RPMs from the lab's yum repository, signatures and closure proved`);
  say(indent((await listing(made.folder)).join('\n')));
  return made;
}

/** @throws when the node has what would make the proof worthless */
async function closedNode(lab: Lab, node: string): Promise<NodeFacts> {
  const facts = await nodeFacts(lab, node);
  say(
    `  ${node}: ${String(facts.rpms)} RPMs; of gcc, make, git, node, npm, yum it has ${facts.tools.join(', ') || 'none'}; default route: ${facts.routes || 'none'}`,
  );
  if (facts.tools.length > 0 || facts.routes !== '')
    throw new Error('the node is not closed: it proves nothing');
  return facts;
}

/** The headlines of a plan: the installation shows the whole. */
const HEADLINE = /^(?:Plan for | *\d+\. | note: | disk: )/;

/** The plan as text, what another way to build changes in it, and the document. */
async function showPlans(lab: Lab, packed: PackedBundle): Promise<void> {
  const plan = async (way: string): Promise<string[]> => {
    const command = `sh install.sh plan --key ${DESK}/packager.pub.pem --fingerprint ${packed.fingerprint} --site ${DESK}/site.yaml --node ${NODE} --build ${way} -o ${DESK}/plan-${way}.json`;
    say(`${NODE}# ${command.replace(packed.fingerprint, 'F')}`);
    const done = await type(lab, NODE, packed, command);
    if (done.exitCode !== 0)
      throw new Error(`the plan ended with exit code ${String(done.exitCode)}\n${done.stderr}`);
    return done.stdout.split('\n').filter((line) => HEADLINE.test(line));
  };
  const host = await plan('host');
  say(indent(host.join('\n')));
  const isolated = await plan('isolated');
  say(indent(isolated.filter((line) => !host.includes(line)).join('\n')));
  const sizes = await lab.exec(NODE, ['sh', '-c', `cd ${DESK} && stat -c '%s bytes  %n' plan-*.json`]);
  say(indent(sizes.stdout));
}

/** What an operator types on each node; the first one is watched. */
async function install(lab: Lab, packed: PackedBundle, build: string | undefined): Promise<void> {
  const extra = build === undefined ? '-y' : `-y --build ${build}`;
  const [first, ...others] = MACHINES.nodes;
  const text = chain(packed, first, extra);
  say(`${first}:${MEDIUM}/${packed.stem}# ${text}`);
  say(`(and the same on ${others.join(', ')}, at the same time)`);
  const exits = await Promise.all([
    typeLive(lab, first, packed, text),
    ...others.map(async (node) => (await type(lab, node, packed, chain(packed, node, extra))).exitCode),
  ]);
  for (const [index, exitCode] of exits.entries())
    if (exitCode !== 0)
      throw new Error(
        `${MACHINES.nodes[index] ?? ''}: the installation ended with exit code ${String(exitCode)}`,
      );
}

async function call(lab: Lab): Promise<string> {
  const { replies, errors, slowestMs } = await callVip(lab, CALLS);
  say(
    `  answered: ${JSON.stringify(replies)}  errors: ${JSON.stringify(errors)}  slowest ${String(Math.round(slowestMs))} ms`,
  );
  const answered = Object.values(replies).reduce((sum, count) => sum + count, 0);
  if (answered !== CALLS || Object.keys(replies).length < 2)
    throw new Error('the calls were not all answered, or not spread');
  const spread = Object.entries(replies).map(([name, count]) => `${name} ${String(count)}`);
  return `${String(answered)} of ${String(CALLS)} gRPC calls answered (${spread.join(', ')})`;
}

async function again(lab: Lab, packed: PackedBundle): Promise<number> {
  const startMs = performance.now();
  const done = await type(lab, NODE, packed, `bundle install . --site ${DESK}/site.yaml --node ${NODE}`);
  const tookMs = performance.now() - startMs;
  say(indent(done.stdout));
  if (done.exitCode !== 0 || !done.stdout.includes('nothing was changed'))
    throw new Error(`the second run was not quiet: exit code ${String(done.exitCode)}\n${done.stderr}`);
  return tookMs;
}

async function failures(lab: Lab, packed: PackedBundle, next: PackedBundle): Promise<Outcome[]> {
  const pair = await given(lab, packed, next);
  const outcomes: Outcome[] = [];
  for (const scenario of SCENARIOS) {
    const outcome = await measure(pair, scenario);
    outcomes.push(outcome);
    const { load, path } = outcome;
    say(
      `  ${scenario.name}: ${String(load.failedRetried)} of ${String(load.retried)} calls lost (${String(load.failedOnce)} of ${String(load.sentOnce)} without sending them again), no service for ${(load.noServiceMs / 1000).toFixed(2)} s, VIP on ${path.join(', then ')}`,
    );
  }
  return outcomes;
}

/** The table. @returns how many goals were kept */
function tell(outcomes: readonly Outcome[]): number {
  say('\n== what failed, and what the clients saw of it');
  for (const line of table(outcomes)) say(`  ${line}`);
  const stalledMs = Math.max(...outcomes.map((outcome) => outcome.stalledMs));
  say(`  this machine let a process wait for up to ${String(stalledMs)} ms`);
  const misses = outcomes.filter((outcome) => missed(outcome).length > 0);
  for (const outcome of misses) say(`  missed: ${outcome.scenario.name}: ${missed(outcome).join('; ')}`);
  return outcomes.length - misses.length;
}

function lookAround(lab: Lab): void {
  say('\n== the lab is up; to look around');
  for (const { container } of Object.values(lab.nodes)) {
    say(`  docker exec -it ${container} bash`);
    say(`  docker exec ${container} bundle status`);
    say(`  docker exec ${container} journalctl -u haproxy -u keepalived`);
  }
  say('  npm run demo -- --down        removes it');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      keep: { type: 'boolean', default: false },
      down: { type: 'boolean', default: false },
      sources: { type: 'string' },
      build: { type: 'string' },
    },
  });
  if (values.down) {
    say(`demo: removed ${String(await removeAbandonedLabs())} containers and networks`);
    return 0;
  }
  try {
    say(`demo: ok: ${await demo({ clones: values.sources, keep: values.keep, build: values.build })}`);
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    say(`demo: failed: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`);
    return 1;
  }
}

process.exitCode = await main();
