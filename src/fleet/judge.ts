import type { ClusterSite, NodeView } from '../model/cluster.js';
import { heldBy, isUnreadable } from '../model/cluster.js';
import type { Finding, FindingCode } from '../model/diagnosis.js';
import { diagnose } from '../model/diagnosis.js';
import type { NodeStatus } from '../model/node-status.js';

/** What a node is to have after its change; null: nothing installed. */
export type Goal = {
  readonly digest: string;
  readonly siteDigest: string | null;
} | null;

export interface JudgeGiven {
  readonly site: ClusterSite;
  readonly goal: Goal;
  /** The node that was just changed, or found as it is to be. */
  readonly node: string;
  /** All nodes before anything was changed. */
  readonly before: readonly NodeView[];
  /** All nodes before this node was changed. */
  readonly since: readonly NodeView[];
  readonly now: readonly NodeView[];
  readonly outsideBefore: ReadonlyMap<string, boolean>;
  readonly outsideNow: ReadonlyMap<string, boolean>;
}

/** Why the rollout may not go on from this node, one sentence each; empty: all is as it should be. Pure. */
export function problemsAfter(given: JudgeGiven): string[] {
  const { node, now, goal } = given;
  const view = now.find((one) => one.node === node);
  if (view?.reach !== 'answered')
    return [`${node} cannot be asked: ${view?.words ?? 'it is not of this site'}`];
  const own =
    view.status === null
      ? withoutStatus(view, goal)
      : [...ownProblems(view.status, goal), ...backendProblems(given, view.status)];
  // A rollback to nothing ends the service; who holds a VIP until then is still looked at.
  const isEnding = goal === null && now.every((one) => one.status === null && !isUnreadable(one));
  return [...own, ...(isEnding ? [] : vrrpProblems(given, view))];
}

function withoutStatus(view: NodeView, goal: Goal): string[] {
  if (goal === null && view.words === '') return [];
  return [view.words === '' ? `nothing is installed on ${view.node}` : `${view.node}: ${view.words}`];
}

export function hasGoal(status: NodeStatus | null, goal: Goal): boolean {
  if (goal === null || status === null) return goal === null && status === null;
  return (
    status.bundle.digest === goal.digest &&
    (goal.siteDigest === null || status.siteDigest === goal.siteDigest) &&
    status.unfinished === null
  );
}

function ownProblems(status: NodeStatus, goal: Goal): string[] {
  const { bundle, unfinished, services } = status;
  return [
    ...(hasGoal(status, goal) || unfinished !== null
      ? []
      : [
          `what is installed is ${bundle.name} ${bundle.version} (${bundle.digest.slice(0, 16)}, site ${status.siteDigest?.slice(0, 8) ?? 'none'}), not what was to be`,
        ]),
    ...(unfinished === null ? [] : [`the ${unfinished.kind} ${unfinished.run} is not finished`]),
    ...services.filter(({ active }) => active !== 'active').map(({ unit, active }) => `${unit} is ${active}`),
  ];
}

const UP = /^(?:UP|OPEN|no check)/;

/** A backend that this node saw up before, or that another node sees up now, has to be up. */
function backendProblems({ node, before, now }: JudgeGiven, status: NodeStatus): string[] {
  const upAt = (views: readonly NodeView[], row: { proxy: string; server: string }): string | undefined =>
    views.find((view) =>
      view.status?.backends.some(
        (one) => one.proxy === row.proxy && one.server === row.server && UP.test(one.status),
      ),
    )?.node;
  const own = before.filter((view) => view.node === node);
  const others = now.filter((view) => view.node !== node);
  return status.backends
    .filter((row) => !UP.test(row.status))
    .flatMap((row) => {
      const words = `backend ${row.proxy}/${row.server} is ${row.status} (${row.check})`;
      if (upAt(own, row) !== undefined) return [`${words}, and was up before`];
      const other = upAt(others, row);
      return other === undefined ? [] : [`${words}, but up as ${other} sees it`];
    });
}

/** What makes a rollout stop although this node itself is well. */
const STOPPING = new Set<FindingCode>([
  'TWO_HOLDERS',
  'NO_HOLDER',
  'HOLDER_UNKNOWN',
  'HOLDER_WITHOUT_KEEPALIVED',
  'NODE_UNREACHABLE',
]);

/** @param before a node that was away before the rollout began is no news */
function stopping(findings: readonly Finding[], before: readonly NodeView[]): string[] {
  const away = before.filter(({ reach }) => reach !== 'answered').map(({ node }) => node);
  return findings
    .filter(({ code, severity }) => STOPPING.has(code) && severity === 'bad')
    .filter(({ code, nodes }) => code !== 'NODE_UNREACHABLE' || !nodes.every((node) => away.includes(node)))
    .map(({ message, cause }) => (cause === null ? message : `${message}: ${cause}`));
}

function vrrpProblems(given: JudgeGiven, view: NodeView): string[] {
  const { site, before, since, now, outsideBefore, outsideNow } = given;
  if (site.vips.length === 0) return stopping(diagnose({ site, views: now }), before);
  const held = new Set(since.find(({ node }) => node === view.node)?.addresses ?? []);
  const servedBefore = new Set(since.flatMap(({ addresses }) => addresses));
  const preempts = view.status?.vrrp?.instances.some(({ preempt }) => preempt) === true;
  return [
    ...stopping(diagnose({ site, views: now, outside: outsideNow }), before),
    ...heldBy(view, site)
      .filter(({ address }) => !preempts && !held.has(address) && servedBefore.has(address))
      .map(({ name, address }) => `it took VIP ${name} (${address}) although another node was serving`),
    ...site.vips
      .filter(({ address }) => outsideBefore.get(address) === true && outsideNow.get(address) === false)
      .map(({ name, address }) => `VIP ${name} (${address}) does not answer from here any more`),
  ];
}
