import { refusedError, usageError } from '../errors.js';
import type { NodeView } from '../model/cluster.js';
import { isBare } from '../model/cluster.js';
import { target } from '../model/layout.js';
import type { NodeStatus } from '../model/node-status.js';
import type { Goal } from './judge.js';
import { hasGoal } from './judge.js';
import { list } from './words.js';

/** Where a rollback of all nodes goes to. */
export interface GoingBack {
  readonly title: string;
  readonly goal: Goal;
  /** Nodes that are there already: a rollout that was stopped did not come to them. */
  readonly done: ReadonlySet<string>;
}

interface State {
  readonly goal: Goal;
  readonly title: string;
}

const NOTHING: State = { goal: null, title: 'no bundle' };

/**
 * The state to which all nodes go back: the one before the last rollout, which is the last run of those that have the
 * newest release, or one that was ended before it committed; nodes that it never came to are there already. Pure.
 * @param to a digest or its first 8 digits, instead of that
 * @throws BundleError exit 5 when the nodes do not agree
 */
export function chooseGoingBack(views: readonly NodeView[], to: string | undefined): GoingBack {
  if (to !== undefined) return chosen(views, to);
  const latest = latestOf(views);
  if (latest === undefined) throw nothingToUndo(views);
  const back = beforeLastRun(views, latest.status);
  const done = views.filter(({ status }) => hasGoal(status, back.goal)).map(({ node }) => node);
  const going = views.filter(({ node }) => !done.includes(node));
  const unknown = going.filter(
    ({ status }) => status?.canGoBack !== true && (status?.unfinished ?? null) === null,
  );
  if (unknown.length > 0) throw disagree(views, unknownInWords(unknown));
  const others = going.filter(
    ({ status }) => !same(before(status).goal, back.goal) && !same(current(status).goal, back.goal),
  );
  if (others.length > 0)
    throw disagree(views, `${list(others.map(({ node }) => node))} would not come to ${back.title}`);
  return { ...back, done: new Set(done) };
}

/** A rollout that was ended on its first node committed nothing: what all have is what they go back to. */
function beforeLastRun(views: readonly NodeView[], latest: NodeStatus | null): State {
  const wasEnded = views.some(
    ({ status }) =>
      status?.unfinished?.kind === 'install' && same(current(status).goal, current(latest).goal),
  );
  return wasEnded ? current(latest) : before(latest);
}

/** The one that was changed last: the highest release, then the newest commit. */
function latestOf(views: readonly NodeView[]): NodeView | undefined {
  const order = ({ status }: NodeView): [number, string] => [
    status?.bundle.sequence ?? 0,
    status?.bundle.committedAt ?? '',
  ];
  return views
    .filter(({ status }) => status !== null)
    .sort((one, other) => {
      const [sequence, committedAt] = order(one);
      const [otherSequence, otherCommittedAt] = order(other);
      return otherSequence - sequence || otherCommittedAt.localeCompare(committedAt);
    })[0];
}

/**
 * What a node's own rollback is told: by name, which never goes further, where it can be; its last run where only the
 * site file changes, or where nothing is to be left.
 */
export function rollbackWords({ goal }: GoingBack, status: NodeStatus | null): string[] {
  if (goal === null) return [];
  const isOtherSite = goal.siteDigest !== null && status?.siteDigest !== goal.siteDigest;
  return status?.bundle.digest === goal.digest && isOtherSite ? [] : ['--to', goal.digest];
}

function chosen(views: readonly NodeView[], to: string): GoingBack {
  if (!/^[0-9a-f]{8,64}$/.test(to))
    throw usageError({
      code: 'BAD_DIGEST',
      message: `--to takes a digest, or its first 8 or more hex digits, not "${to}"`,
      hint: 'Digests: airbundle status on a node, or airbundle status --site site.yaml',
    });
  const known = views.flatMap(({ status }) => [current(status), before(status)]);
  const found = known.find(({ goal }) => goal?.digest.startsWith(to) === true);
  if (found === undefined || found.goal === null)
    throw disagree(views, `none of them had a release with the digest ${to} just before`);
  const goal = { digest: found.goal.digest, siteDigest: null };
  return {
    title: found.title,
    goal,
    done: new Set(views.filter(({ status }) => hasGoal(status, goal)).map(({ node }) => node)),
  };
}

function current(status: NodeStatus | null): State {
  if (status === null) return NOTHING;
  const { digest, name, version } = status.bundle;
  return { goal: { digest, siteDigest: status.siteDigest }, title: `${name} ${version}` };
}

function before(status: NodeStatus | null): State {
  const previous = status?.previous ?? null;
  if (previous === null) return NOTHING;
  const { digest, siteDigest, name, version } = previous;
  return { goal: { digest, siteDigest }, title: `${name} ${version}` };
}

export const same = (one: Goal, other: Goal): boolean =>
  one?.digest === other?.digest && one?.siteDigest === other?.siteDigest;

function unknownInWords(views: readonly NodeView[]): string {
  const names = (some: readonly NodeView[]): string => list(some.map(({ node }) => node));
  const unheard = views.filter((view) => view.status === null && !isBare(view));
  const unrecorded = views.filter((view) => !unheard.includes(view));
  return [
    ...(unheard.length === 0 ? [] : [`what is on ${names(unheard)} is not known`]),
    ...(unrecorded.length === 0 ? [] : [`what was before is not recorded on ${names(unrecorded)}`]),
  ].join(', and ');
}

/** Of a node without a status: what keeps us from knowing it, in its own words. */
function emptyInWords(view: NodeView): string {
  if (isBare(view)) return `${view.node}: ${NOTHING.title}`;
  return `${view.node}: ${view.reach === 'answered' ? '' : 'cannot be asked: '}${view.words}`;
}

/** A first installation that was left unfinished has committed nothing: no status tells of it. */
function nothingToUndo(views: readonly NodeView[]): Error {
  return refusedError({
    code: 'NOTHING_TO_UNDO',
    message: `no bundle is installed on any of the nodes${views.every(isBare) ? '' : ' that could be asked'}; nothing was changed`,
    details: views.map(emptyInWords),
    hint: [
      `Where a first installation was left unfinished, as root on that node, in the folder of the bundle (a deploy puts it below ${target.state}/incoming, and the key into desk there):`,
      'sh install.sh rollback --key KEY --fingerprint FINGERPRINT',
    ].join('\n'),
  });
}

function disagree(views: readonly NodeView[], why: string): Error {
  return refusedError({
    code: 'NODES_DISAGREE',
    message: `the nodes cannot go back together: ${why}; nothing was changed`,
    details: views.map((view) => {
      const { node, status } = view;
      if (status === null) return emptyInWords(view);
      const words = (state: State): string =>
        state.goal === null
          ? state.title
          : `${state.title} (${state.goal.digest.slice(0, 16)}, site ${state.goal.siteDigest?.slice(0, 8) ?? 'none'})`;
      const past = status.canGoBack ? words(before(status)) : 'not recorded';
      return `${node}: ${words(current(status))}, before: ${past}`;
    }),
    hint: 'Say which one: --to DIGEST. Or bring them to one release first: run the deploy again.',
  });
}
