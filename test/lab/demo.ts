import { parseArgs } from 'node:util';
import { execa } from 'execa';
import type { Lab } from './machines.js';
import { removeAbandonedLabs, startLab } from './machines.js';
import { ROOT } from './paths.js';
import { callVip, carry, chain, DESK, MEDIUM, nodeFacts, settled, type, typeLive } from './walk/operator.js';
import { listing, packager } from './walk/packager.js';
import { SERVICE_PORT } from './walk/site.js';

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

async function demo(clones: string | undefined, keep: boolean, build: string | undefined): Promise<string> {
  await part('build the command', () =>
    execa(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, stdout: 'ignore', stderr: 'inherit' }),
  );
  const packed = await part('the packager: bundle keygen, bundle create', async () => {
    say('$ bundle create manifests/tts-ha.yaml --key keys/packager.key.pem   (origins turned to the lab)');
    const made = await packager(clones === undefined ? {} : { clones });
    for (const source of [made.sources_.haproxy, made.sources_.keepalived])
      say(`  source ${source.ref} ${source.commit.slice(0, 12)}: ${source.origin}`);
    say(`  ${String(made.rpms)} RPMs from the lab's yum repository, signatures and closure proved`);
    say(indent((await listing(made.folder)).join('\n')));
    return made;
  });

  let lab: Lab | undefined;
  try {
    lab = await part('start a node and two gRPC backends, on a network without a way out', () =>
      startLab({ nodes: [NODE], backends: ['tts1', 'tts2'] }),
    );
    const up = lab;
    const before = await nodeFacts(up, NODE);
    say(
      `  ${NODE}: ${String(before.rpms)} RPMs; of gcc, make, git, node, npm, yum it has ${before.tools.join(', ') || 'none'}; default route: ${before.routes || 'none'}`,
    );
    if (before.tools.length > 0 || before.routes !== '')
      throw new Error('the node is not closed: it proves nothing');
    await part('carry the folder in', () => carry(up, NODE, packed));

    await part('the operator: verify and install', async () => {
      const text = chain(packed, NODE, build === undefined ? '-y' : `-y --build ${build}`);
      say(`${NODE}:${MEDIUM}/${packed.stem}# ${text}`);
      const exitCode = await typeLive(up, NODE, packed, text);
      if (exitCode !== 0) throw new Error(`the installation ended with exit code ${String(exitCode)}`);
    });
    const status = await part('bundle status', async () => {
      const found = await settled(up, NODE);
      say(indent((await up.exec(NODE, ['bundle', 'status'])).stdout));
      return found;
    });
    const after = await nodeFacts(up, NODE);
    if (after.tools.length > 0) throw new Error(`the build left ${after.tools.join(', ')} on the node`);

    const calls = await part(`${String(CALLS)} gRPC calls over one connection to the VIP`, async () => {
      const report = await callVip(up, CALLS);
      say(
        `  answered: ${JSON.stringify(report.replies)}  errors: ${JSON.stringify(report.errors)}  slowest ${String(Math.round(report.slowestMs))} ms`,
      );
      return report;
    });
    const answered = Object.values(calls.replies).reduce((sum, count) => sum + count, 0);
    if (answered !== CALLS || Object.keys(calls.replies).length < 2)
      throw new Error('the calls were not all answered, or not spread');

    const againMs = await part('the same installation again', async () => {
      const startMs = performance.now();
      const done = await type(up, NODE, packed, `bundle install . --site ${DESK}/site.yaml --node ${NODE}`);
      const took = performance.now() - startMs;
      say(indent(done.stdout));
      if (done.exitCode !== 0 || !done.stdout.includes('nothing was changed'))
        throw new Error(`the second run was not quiet: exit code ${String(done.exitCode)}\n${done.stderr}`);
      return took;
    });

    say('\n== what this proved');
    say(`  the bundle was verified with openssl and sha256sum before anything of it ran`);
    say(`  ${status.versions.map((version) => version.text).join('; ')}`);
    say(
      `  built on a node without compiler, git, Node, yum or a way out: ${String(before.rpms)} RPMs before, ${String(after.rpms)} after`,
    );
    say(
      `  no compiler is on the node afterwards: ${build === 'isolated' ? 'it was in a root of its own' : 'it was erased again'}`,
    );
    say(
      `  gRPC calls to ${up.vip}:${String(SERVICE_PORT)} (VIP held by keepalived) spread by haproxy: ${JSON.stringify(calls.replies)}`,
    );
    say(`  a second installation changed nothing, in ${seconds(againMs)}`);
    say(`  the bundle lies in ${packed.folder}`);
    say('\n== times');
    for (const [name, ms] of times) say(`  ${seconds(ms).padStart(8)}  ${name}`);
    if (keep) lookAround(up);
    const total = times.reduce((sum, [, ms]) => sum + ms, 0);
    return `${String(answered)} of ${String(CALLS)} gRPC calls answered (${Object.entries(calls.replies)
      .map(([name, count]) => `${name} ${String(count)}`)
      .join(', ')}); ${String(before.rpms)} RPMs before, ${String(after.rpms)} after; ${seconds(total)}`;
  } finally {
    if (lab !== undefined && !keep) await lab.down();
  }
}

function lookAround(lab: Lab): void {
  const container = lab.nodes[NODE]?.container ?? '';
  say('\n== the lab is up; to look around');
  say(`  docker exec -it ${container} bash`);
  say(`  docker exec ${container} bundle status`);
  say(`  docker exec ${container} journalctl -u haproxy -u keepalived`);
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
    say(`demo: ok: ${await demo(values.sources, values.keep, values.build)}`);
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    say(`demo: failed: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`);
    return 1;
  }
}

process.exitCode = await main();
