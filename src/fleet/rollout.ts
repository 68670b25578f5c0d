import { BundleError } from '../errors.js';
import type { NodeView } from '../model/cluster.js';
import { heldBy, isBare } from '../model/cluster.js';
import { inStep } from '../report.js';
import type { FollowedRun, NodeAgent, OnLine } from './agent.js';
import type { Cluster } from './cluster.js';
import { agentOf, lookAtAll, tryFromOutside } from './cluster.js';
import { until } from './clock.js';
import type { HandedOver } from './hand-over.js';
import { handOver, requireHeir, startAgain } from './hand-over.js';
import type { Goal } from './judge.js';
import { hasGoal, problemsAfter } from './judge.js';
import { isNewTo, rolloutOrder } from './order.js';
import { lastWords, list, noteOf, reasonOf } from './words.js';

/** What is done on one node, by the node's own installer. */
export interface Change {
  /** "install", "roll back": for titles. */
  readonly verb: string;
  /** What the nodes have afterwards, for a person. */
  readonly title: string;
  readonly goal: Goal;
  /** Nodes on which there is nothing to do. */
  readonly done: ReadonlySet<string>;
  /** Nodes that go on serving while they are changed (docs/decisions/0084): nothing is handed over there. */
  readonly reloaded: ReadonlySet<string>;
  run(agent: NodeAgent, onLine: OnLine): Promise<FollowedRun>;
}

export type NodeOutcome = 'changed' | 'was there' | 'failed' | 'not begun' | 'left out';

export interface NodeFailure {
  readonly node: string;
  readonly stage: 'hand over' | 'change' | 'check';
  /** Of the error, where there is one (docs/reference/errors.md). */
  readonly code: string | undefined;
  readonly message: string;
  readonly details: readonly string[];
  readonly hint: string | undefined;
}

export interface Rolled {
  readonly outcomes: ReadonlyMap<string, NodeOutcome>;
  /** undefined: every node was seen as it is to be. */
  readonly failure: NodeFailure | undefined;
  /** Somebody asked to stop between two nodes. */
  readonly isStopped: boolean;
  /** All nodes at the end. */
  readonly views: readonly NodeView[];
  /** VIP address → whether it answers from here at the end. */
  readonly outside: ReadonlyMap<string, boolean>;
}

const SETTLE_MS = 60_000;
const EVERY_MS = 1000;

/**
 * One node after the other, those that serve last; each is seen well before the next one is touched, and the first
 * one that is not ends it. Never throws for a node: what happened is in the result.
 */
export async function rollOut(
  cluster: Cluster,
  change: Change,
  before: readonly NodeView[],
): Promise<Rolled> {
  const outsideBefore = await tryFromOutside(cluster);
  const order = rolloutOrder(cluster.site, before);
  const waiting = new Set(cluster.chosen);
  const outcomes = new Map<string, NodeOutcome>(
    cluster.site.nodes.map(({ name }) => [name, waiting.has(name) ? 'not begun' : 'left out']),
  );
  let failure: NodeFailure | undefined;
  let isStopped = false;
  let since = before;
  while (waiting.size > 0 && failure === undefined) {
    if (cluster.interrupted()) {
      isStopped = true;
      break;
    }
    const node = nextOf(
      order.filter((name) => waiting.has(name)),
      cluster,
      since,
    );
    if (node === undefined) break;
    waiting.delete(node);
    const result = await oneNode(cluster, change, { node, before, since, outsideBefore });
    failure = result.failure;
    outcomes.set(node, failure === undefined ? result.outcome : 'failed');
    since = result.views;
  }
  const views = failure === undefined ? since : await lookAtAll(cluster);
  return { outcomes, failure, isStopped, views, outside: await tryFromOutside(cluster) };
}

/** Who serves may have changed with the last node: it comes last all the same. */
function nextOf(names: readonly string[], { site }: Cluster, views: readonly NodeView[]): string | undefined {
  const holds = (name: string): boolean =>
    views.some((view) => view.node === name && heldBy(view, site).length > 0);
  return names.find((name) => !holds(name) && !isNewTo(views, name)) ?? names[0];
}

interface NodeGiven {
  readonly node: string;
  readonly before: readonly NodeView[];
  readonly since: readonly NodeView[];
  readonly outsideBefore: ReadonlyMap<string, boolean>;
}

interface NodeResult {
  readonly outcome: NodeOutcome;
  readonly failure: NodeFailure | undefined;
  readonly views: readonly NodeView[];
}

class Stopped extends Error {
  constructor(readonly failure: NodeFailure) {
    super(failure.message);
  }
}

async function oneNode(cluster: Cluster, change: Change, given: NodeGiven): Promise<NodeResult> {
  const { node, since } = given;
  const outcome: NodeOutcome = change.done.has(node) ? 'was there' : 'changed';
  try {
    if (outcome === 'changed') await changeNode(cluster, change, given);
    const views = await inStep(cluster.reporter, `check ${node}`, `${node}: check`, () =>
      settled(cluster, change, given),
    );
    return { outcome, failure: undefined, views };
  } catch (error) {
    if (error instanceof Stopped) return { outcome: 'failed', failure: error.failure, views: since };
    throw error;
  }
}

async function changeNode(cluster: Cluster, change: Change, given: NodeGiven): Promise<void> {
  const view = given.since.find((one) => one.node === given.node);
  const handed =
    view === undefined || change.reloaded.has(given.node)
      ? undefined
      : await handOverFirst(cluster, view, given.since);
  try {
    await runOn(cluster, change, given.node);
  } finally {
    // Harmless where the installer has started it; where it failed, nobody else would.
    if (handed?.isStopped === true) await startAgain(cluster, given.node).catch(() => undefined);
  }
}

async function handOverFirst(
  cluster: Cluster,
  view: NodeView,
  views: readonly NodeView[],
): Promise<HandedOver | undefined> {
  const { site, reporter } = cluster;
  const vips = heldBy(view, site);
  if (vips.length === 0) return undefined;
  const others = views.filter((other) => other.node !== view.node);
  // The only one so far, or the last one of a rollback to nothing: there is nobody to hand over to.
  if (others.every(isBare)) return undefined;
  try {
    requireHeir(view.node, others);
    return await inStep(
      reporter,
      `hand over ${view.node}`,
      `${view.node}: hand over ${list(vips.map(({ name }) => name))}`,
      () => handOver(cluster, view),
      ({ to }) => `now held by ${list(to)}`,
    );
  } catch (error) {
    throw new Stopped(failureOf(view.node, 'hand over', error));
  }
}

async function runOn(cluster: Cluster, change: Change, node: string): Promise<void> {
  try {
    await inStep(cluster.reporter, `${change.verb} ${node}`, `${node}: ${change.verb}`, async (step) => {
      const run = await change.run(agentOf(cluster, node), (line) => {
        step.note(noteOf(line));
      });
      if (run.exitCode !== 0) throw new Stopped(failedRun(node, change, run));
    });
  } catch (error) {
    throw error instanceof Stopped ? error : new Stopped(failureOf(node, 'change', error));
  }
}

function failedRun(node: string, { verb }: Change, { exitCode, log }: FollowedRun): NodeFailure {
  return {
    node,
    stage: 'change',
    code: undefined,
    message:
      exitCode === null
        ? `${verb} on ${node} was ended before its end`
        : `${verb} on ${node} ended with exit code ${String(exitCode)}`,
    details: lastWords(log),
    hint: undefined,
  };
}

/** Waits until the node and everything that it shares with the others is as it should be. */
async function settled(cluster: Cluster, change: Change, given: NodeGiven): Promise<readonly NodeView[]> {
  const { clock, site } = cluster;
  const { node, before, since, outsideBefore } = given;
  const seen = await until(
    clock,
    { timeoutMs: SETTLE_MS, everyMs: EVERY_MS },
    async () => {
      const [now, outsideNow] = await Promise.all([lookAtAll(cluster), tryFromOutside(cluster)]);
      const { goal } = change;
      return {
        now,
        problems: problemsAfter({ site, goal, node, before, since, now, outsideBefore, outsideNow }),
      };
    },
    ({ problems }) => problems.length === 0,
  );
  if (seen.isGood) return seen.answer.now;
  const { problems, now } = seen.answer;
  const changed = now.find((view) => view.node === node)?.status ?? null;
  throw new Stopped({
    node,
    stage: 'check',
    code: undefined,
    message: `${node} ${hasGoal(changed, change.goal) ? `has ${change.title}, but all is not well` : `is not as it should be`} after ${String(SETTLE_MS / 1000)} s`,
    details: problems,
    hint: undefined,
  });
}

function failureOf(node: string, stage: NodeFailure['stage'], error: unknown): NodeFailure {
  return {
    node,
    stage,
    code: error instanceof BundleError ? error.code : undefined,
    message: reasonOf(error),
    details: error instanceof BundleError ? error.details : [],
    hint: error instanceof BundleError ? error.hint : undefined,
  };
}
