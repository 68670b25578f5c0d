import type { NodeView } from '../model/cluster.js';
import { heldBy, isBare } from '../model/cluster.js';
import { stepError } from '../errors.js';
import type { Cluster } from './cluster.js';
import { agentOf, tryFromOutside } from './cluster.js';
import { until } from './clock.js';
import { lookAtAddresses } from './look.js';
import { firstWords, list, reasonOf } from './words.js';

const KEEPALIVED = 'keepalived.service';
const SYSTEMCTL_MS = 60_000;
const TAKEN_MS = 20_000;
const EVERY_MS = 200;

/** What has to be done once the node was changed. */
export interface HandedOver {
  /** keepalived was not started again, since it would take the VIPs back at once. */
  readonly isStopped: boolean;
  /** Who has the VIPs now. */
  readonly to: readonly string[];
}

/**
 * The VIPs of the active node go to another node before anything is changed on it: keepalived is stopped, which
 * tells the others at once, and started again as a backup when they have them (docs/decisions/0080).
 * @throws BundleError exit 6 when no other node takes them; keepalived then runs again
 */
export async function handOver(cluster: Cluster, view: NodeView): Promise<HandedOver> {
  const { node } = view;
  const vips = heldBy(view, cluster.site).map(({ address }) => address);
  const outside = await tryFromOutside(cluster);
  await systemctl(cluster, node, 'stop');
  const taken = await until(
    cluster.clock,
    { timeoutMs: TAKEN_MS, everyMs: EVERY_MS },
    async () => {
      const holders = await whoHas(cluster, vips);
      return { holders, answers: areTaken(holders, node) && (await stillAnswer(cluster, outside)) };
    },
    ({ answers }) => answers,
  ).catch(async (error: unknown) => {
    await systemctl(cluster, node, 'start').catch(() => undefined);
    throw error;
  });
  const to = [...new Set([...taken.answer.holders.values()].flat())];
  if (!taken.isGood) throw await notTaken(cluster, node, taken.answer.holders);
  const preempts = view.status?.vrrp?.instances.some(({ preempt }) => preempt) !== false;
  if (preempts) return { isStopped: true, to };
  await systemctl(cluster, node, 'start');
  return { isStopped: false, to };
}

function stateInWords(view: NodeView): string {
  if (isBare(view)) return 'no bundle is installed';
  if (view.status === null) return `cannot be asked: ${view.words}`;
  return view.status.services.map(({ unit, active }) => `${unit} ${active}`).join(', ');
}

/** Some other node has to be able to take over, before anything is stopped. @throws BundleError exit 6 */
export function requireHeir(node: string, others: readonly NodeView[]): void {
  const isFit = ({ status }: NodeView): boolean =>
    status?.vrrp?.keepalived === 'active' && status.services.every(({ active }) => active === 'active');
  if (others.some(isFit)) return;
  throw stepError({
    code: 'NO_HEIR',
    message: `no other node could take over from ${node}, which serves; it was left alone`,
    where: `node ${node}`,
    details: others.map((view) => `${view.node}: ${stateInWords(view)}`),
    hint: 'Bring haproxy and keepalived up on another node, then run the same command again.',
  });
}

/** Starts keepalived where it was stopped and nothing has started it since. */
export async function startAgain(cluster: Cluster, node: string): Promise<void> {
  await systemctl(cluster, node, 'start');
}

type Holders = ReadonlyMap<string, readonly string[]>;

async function whoHas(cluster: Cluster, vips: readonly string[]): Promise<Holders> {
  const seen = await Promise.all(
    cluster.agents.map(async (agent) => ({
      node: agent.name,
      addresses: (await lookAtAddresses(agent)) ?? [],
    })),
  );
  return new Map(
    vips.map((vip) => [vip, seen.filter(({ addresses }) => addresses.includes(vip)).map(({ node }) => node)]),
  );
}

const areTaken = (holders: Holders, from: string): boolean =>
  [...holders.values()].every((nodes) => nodes.length === 1 && nodes[0] !== from);

async function stillAnswer(cluster: Cluster, before: ReadonlyMap<string, boolean>): Promise<boolean> {
  const now = await tryFromOutside(cluster);
  return [...before].every(([address, answered]) => !answered || now.get(address) === true);
}

async function notTaken(cluster: Cluster, node: string, holders: Holders): Promise<Error> {
  const restarted = await systemctl(cluster, node, 'start').then(
    () => 'keepalived was started again there',
    (error: unknown) => `and keepalived could not be started again there: ${reasonOf(error)}`,
  );
  const seen = [...holders].map(([vip, nodes]) =>
    nodes.length === 0
      ? `nobody held ${vip}`
      : `${vip} was held by ${list(nodes)}${nodes.length === 1 && nodes[0] !== node ? ', but did not answer' : ''}`,
  );
  return stepError({
    code: 'FAILOVER_FAILED',
    message: `no other node took over from ${node} within ${String(TAKEN_MS / 1000)} s; ${restarted}`,
    where: `node ${node}`,
    details: seen,
    hint: 'On the other nodes: journalctl -u keepalived -u haproxy; then: airbundle status --site site.yaml',
  });
}

async function systemctl(cluster: Cluster, node: string, verb: 'start' | 'stop'): Promise<void> {
  const done = await agentOf(cluster, node).run(['systemctl', verb, KEEPALIVED], {
    asRoot: true,
    timeoutMs: SYSTEMCTL_MS,
  });
  if (done.exitCode === 0) return;
  throw stepError({
    code: 'KEEPALIVED_NOT_CONTROLLED',
    message: `systemctl ${verb} keepalived did not work on ${node}: ${firstWords(done.stderr)}`,
    where: `node ${node}`,
    hint: `On ${node}: systemctl status keepalived; journalctl -u keepalived`,
  });
}
