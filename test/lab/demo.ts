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
import { target } from '../../src/model/layout.js';
import {
  carryToJump,
  deployOf,
  JUMP,
  LOGIN,
  toolsChain,
  typeOnJump,
  typeOnJumpLive,
} from './walk/jump-host.js';
import { callVip, MEDIUM, nodeFacts, type NodeFacts, statusOf } from './walk/operator.js';
import { listing, type PackedBundle, packager } from './walk/packager.js';

/*
 * The main job from end to end, on real parts: `npm run demo`. What is typed is shown with "$".
 *   -- --keep          leaves the lab up and says how to look around
 *   -- --build WAY     where the nodes build: host (the manifest's own choice) or isolated
 *   -- --down          removes what --keep or a killed run left, not the labs of runs that go on
 *   -- --sources DIR   haproxy and keepalived from local clones of their upstreams
 */

const [NODE, OTHER] = MACHINES.nodes;
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

  const extra = build === undefined ? '-y' : `-y --build ${build}`;
  let lab: Lab | undefined;
  try {
    lab = await part('start two load balancers, three gRPC backends, a client, a jump host; no way out', () =>
      startLab(MACHINES),
    );
    const up = lab;
    const before = await closedNode(up, NODE);
    await closedNode(up, OTHER);
    const site = await firstSite(up, packed);
    await part('carry the folder to the jump host, key and site file by another way', async () => {
      await carryToJump(up, packed, site);
      const { tools } = await nodeFacts(up, JUMP);
      say(`  ${JUMP}: of gcc, make, git, node, npm, yum it has ${tools.join(', ') || 'none'};`);
      say(
        `  ssh logs in to ${MACHINES.nodes.join(' and ')} as ${LOGIN}, who may use sudo; their host keys are known`,
      );
    });
    await part('the operator: three stock commands verify the folder, then the tools come from it', () =>
      typed(up, toolsChain(packed), `${MEDIUM}/${packed.stem}`),
    );
    await part('the operator: every node verifies and plans, nothing that runs is changed', () =>
      typed(up, deployOf(packed, '--check')),
    );
    await part(`the whole plan of ${NODE}, for both ways to build`, () => showPlans(up, packed));
    await part('the operator: install on both nodes over SSH', () => typed(up, deployOf(packed, extra)));
    const status = await part('airbundle status, on each node', async () => {
      await healthyPair(up);
      for (const node of MACHINES.nodes) say(indent((await up.exec(node, ['airbundle', 'status'])).stdout));
      return statusOf(up, NODE);
    });
    const after = await builtNode(up, NODE);
    await builtNode(up, OTHER);
    const answered = await part(`${String(CALLS)} gRPC calls over one connection to the VIP`, () => call(up));
    const againMs = await part('the same deploy again', () => again(up, packed, extra));
    const outcomes = await part('what fails, under 50 calls a second and six streams', () =>
      failures(up, packed, next),
    );
    await part('both nodes side by side, after all that', () => sideBySide(up));

    say('\n== what this proved');
    say(`  the bundle was verified with openssl and sha256sum before anything of it ran;`);
    say(`  each node verified it again, with the key that the jump host trusts and sent to it over SSH`);
    say(`  ${status.versions.map((version) => version.text).join('; ')}`);
    say(
      `  built on nodes without compiler, git, Node, yum or a way out: ${String(before.rpms)} RPMs before, ${String(after.rpms)} after`,
    );
    say(
      `  no compiler is on a node afterwards: ${build === 'isolated' ? 'it was in a root of its own' : 'it was erased again'}`,
    );
    say(`  a second deploy to both nodes changed nothing, in ${seconds(againMs)}`);
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

/** Types on the jump host, with the output as it comes. @throws unless it ends well */
async function typed(lab: Lab, text: string, folder?: string): Promise<void> {
  say(`${JUMP}:${folder ?? '~/airbundle'}# ${text}`);
  const exitCode = await typeOnJumpLive(lab, text, folder);
  if (exitCode !== 0)
    throw new Error(`it ended with exit code ${String(exitCode)}: ${text.split('\n').pop() ?? ''}`);
}

/** @throws when the build left something to build with */
async function builtNode(lab: Lab, node: string): Promise<NodeFacts> {
  const facts = await nodeFacts(lab, node);
  if (facts.tools.length === 0) return facts;
  throw new Error(`the build left ${facts.tools.join(', ')} on ${node}`);
}

/** The headlines of a plan: its lines are many. */
const HEADLINE = /^(?:Plan for | *\d+\. | note: | disk: )/;

/** The plan as text, what another way to build changes in it, and the document; by the node's own installer. */
async function showPlans(lab: Lab, packed: PackedBundle): Promise<void> {
  const folder = `${target.state}/incoming/${packed.stem}`;
  // The one that the deploy has just made there.
  const desks = await lab.exec(NODE, ['ls', `${folder}/desk`]);
  const desk = `${folder}/desk/${desks.stdout.trim()}`;
  const plan = async (way: 'host' | 'isolated'): Promise<string[]> => {
    // The first is what the manifest says, too.
    const choice = way === 'host' ? '' : `--build ${way} `;
    const command = `ssh ${NODE} sudo sh ${folder}/install.sh plan --key ${desk}/key.pem --fingerprint ${packed.fingerprint} --site ${desk}/site.yaml --node ${NODE} ${choice}-o /root/plan-${way}.json`;
    say(`${JUMP}:~/airbundle# ${command.replace(packed.fingerprint, 'F')}`);
    const done = await typeOnJump(lab, command);
    if (done.exitCode !== 0)
      throw new Error(`the plan ended with exit code ${String(done.exitCode)}\n${done.stderr}`);
    return done.stdout.split('\n').filter((line) => HEADLINE.test(line));
  };
  const host = await plan('host');
  say(indent(host.join('\n')));
  const isolated = await plan('isolated');
  say(indent(isolated.filter((line) => !host.includes(line)).join('\n')));
  const sizes = await lab.exec(NODE, ['sh', '-c', `cd /root && stat -c '%s bytes  %n' plan-*.json`]);
  say(indent(sizes.stdout));
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

async function again(lab: Lab, packed: PackedBundle, extra: string): Promise<number> {
  const text = deployOf(packed, extra);
  say(`${JUMP}:~/airbundle# ${text}`);
  const startMs = performance.now();
  const done = await typeOnJump(lab, text);
  const tookMs = performance.now() - startMs;
  say(indent(done.stdout));
  if (done.exitCode !== 0 || !done.stdout.includes('nothing was changed'))
    throw new Error(`the second run was not quiet: exit code ${String(done.exitCode)}\n${done.stderr}`);
  return tookMs;
}

/** @throws when anything is wrong between the nodes, two holders of the VIP first of all */
async function sideBySide(lab: Lab): Promise<void> {
  const text = 'airbundle status --site site.yaml';
  say(`${JUMP}:~/airbundle# ${text}`);
  const done = await typeOnJump(lab, text);
  say(indent(done.stdout));
  if (done.exitCode !== 0 || !done.stdout.endsWith('all is well'))
    throw new Error(`not all is well: exit code ${String(done.exitCode)}\n${done.stderr}`);
}

async function failures(lab: Lab, packed: PackedBundle, next: PackedBundle): Promise<Outcome[]> {
  const show = (text: string, printed: string): void => {
    say(`${JUMP}:~/airbundle# ${text}`);
    say(indent(printed));
  };
  const pair = { ...(await given(lab, packed, next)), show };
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
    say(`  docker exec ${container} airbundle status`);
    say(`  docker exec ${container} journalctl -u haproxy -u keepalived`);
  }
  say(`  docker exec -it -w /root/airbundle ${lab.jumpHosts[JUMP]?.container ?? JUMP} bash`);
  say('      airbundle status --site site.yaml');
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
