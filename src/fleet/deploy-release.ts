import type { NodeView } from '../model/cluster.js';
import { heldBy, isBare } from '../model/cluster.js';
import type { FollowedRun, NodeAgent, OnLine, UploadResult } from './agent.js';
import type { Cluster } from './cluster.js';
import { rolloutOrder } from './order.js';
import type { PreflightGiven, Prepared } from './preflight.js';
import { asPlanned, doneNodes, lookAgain, planInWords, preflight, requireSameVrrp } from './preflight.js';
import type { RolloutReport } from './report-rollout.js';
import { releaseOf, reportOf, table, unchangedReport } from './report-rollout.js';
import { rollOut } from './rollout.js';
import type { Watched, Watcher } from './watch.js';

export interface RolloutGiven {
  readonly cluster: Cluster;
  /** Stops before the first change. */
  readonly isCheck: boolean;
  /** Shows what would happen and asks; false: nothing is done. */
  readonly confirm: (text: string) => Promise<boolean>;
  /** Looks at the services from here while nodes are changed; undefined: nobody does. */
  readonly watch: (() => Watcher) | undefined;
}

export interface DeployGiven extends RolloutGiven, PreflightGiven {
  readonly install: (agent: NodeAgent, uploaded: UploadResult, onLine: OnLine) => Promise<FollowedRun>;
}

/**
 * A release to every node, so that the service goes on: all nodes are looked at, sent to and planned first, then one
 * after the other is changed. A node that fails is in the report; what is refused before the first change is thrown.
 * @throws BundleError exit 5
 */
export async function deployRelease(given: DeployGiven): Promise<RolloutReport> {
  const { cluster, release } = given;
  const prepared = await preflight(cluster, given);
  const { views: shown, notes, uploads, plans } = prepared;
  const outline = outlineOf(cluster, prepared, release.title);
  const nothingDone = { site: cluster.site, title: release.title, views: shown, notes };
  if (given.isCheck) {
    await given.confirm(outline);
    return unchangedReport({ ...nothingDone, outcome: 'checked' });
  }
  const isDone = [...cluster.chosen].every((name) => prepared.done.has(name));
  if (!isDone && !(await given.confirm(outline)))
    return unchangedReport({ ...nothingDone, outcome: 'declined' });
  const before = isDone ? shown : await lookAgain(cluster, shown);
  requireSameVrrp(cluster, before);
  const { result: rolled, watched } = await watching(isDone ? undefined : given.watch, () =>
    rollOut(
      cluster,
      {
        verb: 'install',
        title: release.title,
        goal: goalOf(release, prepared),
        done: doneNodes(before, plans, release),
        reloaded: asPlanned(prepared.reloaded, shown, before),
        run: (agent, onLine) => {
          const uploaded = uploads.get(agent.name);
          if (uploaded === undefined) throw new Error(`nothing was sent to ${agent.name}`);
          return given.install(agent, uploaded, onLine);
        },
      },
      before,
    ),
  );
  return reportOf({ site: cluster.site, title: release.title, before, rolled, watched, notes });
}

/** Nodes keep no site of a bundle in which nothing is configured. */
function goalOf({ goal }: DeployGiven['release'], { plans }: Prepared): DeployGiven['release']['goal'] {
  const readsSite = [...plans.values()].some(({ siteDigest }) => siteDigest !== null);
  return { ...goal, siteDigest: readsSite ? goal.siteDigest : null };
}

/** @returns the result of the work, and how the services answered meanwhile */
export async function watching<T>(
  begin: (() => Watcher) | undefined,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly watched: readonly Watched[] }> {
  const watcher = begin?.();
  try {
    const result = await work();
    return { result, watched: (await watcher?.stop()) ?? [] };
  } catch (error) {
    await watcher?.stop();
    throw error;
  }
}

/** One line for each node, in the order in which they would be changed. */
function outlineOf(cluster: Cluster, prepared: Prepared, title: string): string {
  const { views, plans, notes, done } = prepared;
  const order = rolloutOrder(cluster.site, views).filter((name) => cluster.chosen.has(name));
  const lines = order.map((name, index) => {
    const view = views.find(({ node }) => node === name);
    const plan = plans.get(name);
    return [
      `${String(index + 1)}.`,
      name,
      changeInWords(done.has(name) ? releaseOf(view) : title, view),
      handOverInWords(cluster, view, views, prepared),
      plan === undefined ? '' : planInWords(plan),
    ];
  });
  return [
    `Rollout of ${title} to ${cluster.site.name}, one node after the other`,
    ...table(lines).map((line) => `  ${line}`),
    ...notes.map((note) => `  note: ${note}`),
    '',
  ].join('\n');
}

/** What a node has and what it will have; one of them where they are the same. */
export function changeInWords(after: string, view: NodeView | undefined): string {
  const before = releaseOf(view);
  return before === after ? after : `${before} → ${after}`;
}

export function handOverInWords(
  { site }: Cluster,
  view: NodeView | undefined,
  views: readonly NodeView[],
  { done, reloaded }: Pick<Prepared, 'done' | 'reloaded'>,
): string {
  const held = view === undefined ? [] : heldBy(view, site).map(({ name }) => name);
  // Nobody stands by for a service that there is not yet.
  if (held.length === 0) return views.every(({ status }) => status === null) ? '' : 'standby';
  const isAlone = view?.status !== null && views.every((one) => one.node === view?.node || isBare(one));
  const node = view?.node ?? '';
  return done.has(node) || reloaded.has(node) || isAlone
    ? `holds ${held.join(', ')}`
    : `holds ${held.join(', ')}, hands over first`;
}
