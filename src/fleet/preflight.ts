import { refusedError } from '../errors.js';
import type { Argv } from '../host/process.js';
import type { ClusterVip, NodeView } from '../model/cluster.js';
import { holdersOf, isUnreadable } from '../model/cluster.js';
import type { Finding, FindingCode } from '../model/diagnosis.js';
import { diagnose } from '../model/diagnosis.js';
import { inStep } from '../report.js';
import type { NodeAgent, UploadResult } from './agent.js';
import type { Cluster } from './cluster.js';
import { isHeldOnce, lookAtAll, tryFromOutside } from './cluster.js';
import { until } from './clock.js';
import type { Goal } from './judge.js';
import { hasGoal } from './judge.js';
import type { NodePlan } from './node-plan.js';
import { askPlan, onlyReloads } from './node-plan.js';
import { rolloutOrder } from './order.js';
import { inParallel } from './parallel.js';
import { vrrpChanges } from './vrrp-change.js';
import { list, reasonInFull } from './words.js';

/** The release that is to be on every node. */
export interface Release {
  /** Name and version. */
  readonly title: string;
  readonly goal: NonNullable<Goal>;
}

export interface PreflightGiven {
  readonly release: Release;
  /** Brings the folder there, showing how far it is. */
  readonly upload: (agent: NodeAgent) => Promise<UploadResult>;
  /** Nodes at a time. */
  readonly parallel: number;
  readonly planArgv: (agent: NodeAgent, uploaded: UploadResult) => Promise<Argv>;
}

export interface Prepared {
  readonly views: readonly NodeView[];
  readonly uploads: ReadonlyMap<string, UploadResult>;
  readonly plans: ReadonlyMap<string, NodePlan>;
  /** Nodes that have everything already. */
  readonly done: ReadonlySet<string>;
  /** Nodes that serve on while they are changed. */
  readonly reloaded: ReadonlySet<string>;
  /** What a person should know before saying yes. */
  readonly notes: readonly string[];
}

const STEADY_MS = 8000;
const EVERY_MS = 1000;

/**
 * Everything that can be known before the first change, on all nodes: reached, root, a sound state between them, the
 * bundle there and verified by the node itself, and a plan without refusals.
 * @throws BundleError exit 5 with the reasons of every node; nothing that runs was changed
 */
export async function preflight(cluster: Cluster, given: PreflightGiven): Promise<Prepared> {
  const views = await lookSteadily(cluster);
  requireSameVrrp(cluster, views);
  const prepared = await eachNode(cluster, given.parallel, async (agent) => {
    const uploaded = await given.upload(agent);
    const asked = await inStep(
      cluster.reporter,
      `plan ${agent.name}`,
      `${agent.name}: verify the bundle and plan`,
      async (step) =>
        askPlan(agent, await given.planArgv(agent, uploaded), cluster.clock, (words) => {
          step.note(words);
        }),
      ({ plan, problems }) => (plan === undefined || problems.length > 0 ? 'refused' : stepsInWords(plan)),
    );
    return { uploaded, ...asked };
  });
  const problems = prepared.flatMap(({ node, result, error }) => [
    ...(error === undefined ? [] : [`${node}: ${error}`]),
    ...(result?.problems ?? []).map((problem) => `${node}: ${problem}`),
    ...(result?.plan === undefined ? [] : otherGoal(node, result.plan, given.release)),
  ]);
  if (problems.length > 0) throw preflightFailed(problems);
  const plans = new Map(
    prepared.flatMap(({ node, result }) =>
      result?.plan === undefined ? [] : [[node, result.plan] as const],
    ),
  );
  return {
    views,
    plans,
    uploads: new Map(
      prepared.flatMap(({ node, result }) =>
        result === undefined ? [] : [[node, result.uploaded] as const],
      ),
    ),
    done: doneNodes(views, plans, given.release),
    reloaded: new Set([...plans].filter(([, plan]) => onlyReloads(plan)).map(([node]) => node)),
    notes: notesOf(cluster, views),
  };
}

/** The state between the nodes as it stays, not as it is in the seconds of a failover. @throws BundleError exit 5 */
export async function lookSteadily(cluster: Cluster, verb = 'look'): Promise<readonly NodeView[]> {
  return inStep(
    cluster.reporter,
    verb,
    `${verb} at ${cluster.agents.map(({ name }) => name).join(', ')}`,
    async () => {
      const { answer } = await until(
        cluster.clock,
        { timeoutMs: STEADY_MS, everyMs: EVERY_MS },
        () => lookAtAll(cluster),
        (views) =>
          views.some(({ node, reach }) => cluster.chosen.has(node) && reach !== 'answered') ||
          (!views.some(isUnreadable) &&
            (isHeldOnce(cluster.site, views) || views.every(({ status }) => status === null))),
      );
      const outside = await tryFromOutside(cluster);
      const problems = [
        ...refusals(cluster, diagnose({ site: cluster.site, views: answer, outside })),
        ...unreadable(answer),
      ];
      if (problems.length > 0) throw preflightFailed(problems);
      return answer;
    },
  );
}

/**
 * The nodes as they are once somebody has said yes, which may be an hour after the first look: the rollout goes by
 * this, and what it changes in the outline is said.
 * @param shown what the outline was made from
 * @throws BundleError exit 5, as at the first look
 */
export async function lookAgain(cluster: Cluster, shown: readonly NodeView[]): Promise<readonly NodeView[]> {
  const now = await lookSteadily(cluster, 'look again');
  for (const line of outlineChanges(cluster, shown, now)) cluster.reporter.warn(line);
  return now;
}

function outlineChanges(
  { site, chosen }: Cluster,
  shown: readonly NodeView[],
  now: readonly NodeView[],
): string[] {
  const holders = (vip: ClusterVip, views: readonly NodeView[]): string =>
    list(holdersOf(vip, views)) || 'nobody';
  const order = (views: readonly NodeView[]): string =>
    rolloutOrder(site, views)
      .filter((name) => chosen.has(name))
      .join(', ');
  return [
    ...site.vips
      .filter((vip) => holders(vip, shown) !== holders(vip, now))
      .map(
        (vip) =>
          `VIP ${vip.name} went from ${holders(vip, shown)} to ${holders(vip, now)} since the nodes were first looked at`,
      ),
    ...(order(shown) === order(now) ? [] : [`the order is not that of the outline any more: ${order(now)}`]),
  ];
}

/** Of these nodes, those that still have what they were planned with. */
export function asPlanned(
  names: ReadonlySet<string>,
  shown: readonly NodeView[],
  now: readonly NodeView[],
): Set<string> {
  const state = (views: readonly NodeView[], name: string): string => {
    const status = views.find(({ node }) => node === name)?.status;
    return JSON.stringify([status?.bundle.digest, status?.siteDigest, status?.unfinished?.run]);
  };
  return new Set([...names].filter((name) => state(shown, name) === state(now, name)));
}

/** @throws BundleError exit 5 */
export function requireSameVrrp({ site }: Cluster, views: readonly NodeView[]): void {
  const changes = vrrpChanges(site, views);
  if (changes.length === 0) return;
  throw refusedError({
    code: 'VRRP_WOULD_SPLIT',
    message:
      'the site changes what the nodes have to agree on to hear each other: node by node, each VIP would have two holders meanwhile; nothing was changed',
    details: changes,
    hint: 'In a maintenance window: stop keepalived on all nodes (systemctl stop keepalived), then run the same command again. Or keep the old setting in the site file.',
  });
}

/** What a rollout is not begun with. A VIP that nobody holds is not among it: there is no service to lose. */
const REFUSED = new Set<FindingCode>(['TWO_HOLDERS', 'NODE_UNREACHABLE', 'PROTOCOL_112_CLOSED']);

function refusals({ chosen }: Cluster, findings: readonly Finding[]): string[] {
  return (
    findings
      .filter(({ code }) => REFUSED.has(code))
      // A node that is left out may be away: a dead one has to be replaced some time.
      .filter(({ code, nodes }) => code !== 'NODE_UNREACHABLE' || nodes.some((node) => chosen.has(node)))
      .map(({ message, cause }) => (cause === null ? message : `${message}: ${cause}`))
  );
}

/** Such a node may serve or stand by: nobody knows, so the others are not changed either. */
function unreadable(views: readonly NodeView[]): string[] {
  return views
    .filter(isUnreadable)
    .map(({ node, words }) => `${node}: ${words}\n  next: on ${node}: airbundle status`);
}

export function preflightFailed(problems: readonly string[]): Error {
  return refusedError({
    code: 'PREFLIGHT_FAILED',
    message: `the nodes are not fit for the change as they are; nothing that runs was changed (${String(problems.length)} ${problems.length === 1 ? 'reason' : 'reasons'})`,
    details: problems.flatMap((problem) => problem.split('\n')),
    hint: 'Mend these, then run the same command again. --check looks without changing anything.',
  });
}

interface NodeResult<T> {
  readonly node: string;
  readonly result: T | undefined;
  readonly error: string | undefined;
}

/** Work on every node, some at a time; one that fails does not stop the others. */
async function eachNode<T>(
  cluster: Cluster,
  parallel: number,
  work: (agent: NodeAgent) => Promise<T>,
): Promise<NodeResult<T>[]> {
  const chosen = cluster.agents.filter(({ name }) => cluster.chosen.has(name));
  return inParallel(chosen, parallel, (agent) =>
    work(agent).then(
      (result): NodeResult<T> => ({ node: agent.name, result, error: undefined }),
      (error: unknown): NodeResult<T> => ({
        node: agent.name,
        result: undefined,
        error: reasonInFull(error),
      }),
    ),
  );
}

function otherGoal(node: string, { bundle, siteDigest }: NodePlan, { goal }: Release): string[] {
  return [
    ...(bundle.digest === goal.digest
      ? []
      : [`${node}: the bundle there is ${bundle.digest}, here it is ${goal.digest}`]),
    ...(goal.siteDigest === null || siteDigest === null || siteDigest === goal.siteDigest
      ? []
      : [`${node}: the site file there is ${siteDigest}, here it is ${goal.siteDigest}`]),
  ];
}

/** Nothing to do: the release, the site and every step of the plan. */
export function doneNodes(
  views: readonly NodeView[],
  plans: ReadonlyMap<string, NodePlan>,
  { goal }: Release,
): Set<string> {
  return new Set(
    views
      .filter(
        ({ node, status }) =>
          status !== null &&
          hasGoal(status, { ...goal, siteDigest: plans.get(node)?.siteDigest ?? null }) &&
          plans.get(node)?.steps.length === 0,
      )
      .map(({ node }) => node),
  );
}

/** Not said: what stands in the outline anyway. A node that is away is not among the chosen ones. */
const UNSAID = new Set<FindingCode>(['NODE_NOT_INSTALLED', 'RELEASES_DIFFER']);

/** Findings that do not stop a rollout. */
export function notesOf({ site }: Cluster, views: readonly NodeView[]): string[] {
  return diagnose({ site, views })
    .filter(({ code }) => code === 'NODE_UNREACHABLE' || (!REFUSED.has(code) && !UNSAID.has(code)))
    .map(({ message, cause }) => (cause === null ? message : `${message}: ${cause}`));
}

/** How much it is; what it is stands in the outline of all nodes. */
function stepsInWords({ steps, cost }: NodePlan): string {
  const count = steps.length;
  return count === 0
    ? 'nothing to do'
    : `${String(count)} ${count === 1 ? 'step' : 'steps'}, about ${String(cost.seconds)} s`;
}

/** One line for a node of what its installer would do. */
export function planInWords(plan: NodePlan): string {
  if (plan.steps.length === 0) return 'nothing to do';
  const count = plan.steps.length;
  const acted = (['start', 'restart', 'reload'] as const).flatMap((verb) => {
    const units = plan.services.filter(({ action }) => action === verb).map(({ unit }) => unit);
    return units.length === 0 ? [] : [`${verb} ${list(units.map((unit) => unit.replace(/\.service$/, '')))}`];
  });
  return [
    `${String(count)} ${count === 1 ? 'step' : 'steps'} (${plan.steps.map(({ id }) => id).join(', ')})`,
    ...acted,
    `about ${String(plan.cost.seconds)} s`,
  ].join('; ');
}
