import { BundleError, EXIT } from '../errors.js';
import type { ClusterSite, NodeView } from '../model/cluster.js';
import { heldBy, holdersOf } from '../model/cluster.js';
import type { NodeOutcome, Rolled } from './rollout.js';
import type { Watched } from './watch.js';
import { list } from './words.js';

/** One node at the end, as it was seen. */
interface NodeLine {
  readonly node: string;
  readonly outcome: NodeOutcome;
  readonly before: string;
  readonly now: string;
  readonly digest: string | null;
  readonly holds: readonly string[];
}

export interface RolloutReport {
  readonly outcome: 'done' | 'unchanged' | 'checked' | 'declined' | 'stopped' | 'failed';
  readonly title: string;
  readonly nodes: readonly NodeLine[];
  readonly vips: readonly {
    readonly name: string;
    readonly address: string;
    readonly holders: readonly string[];
    /** null: it was not tried from here. */
    readonly answers: boolean | null;
  }[];
  readonly watched: readonly Watched[];
  readonly notes: readonly string[];
  readonly failure: Rolled['failure'] | null;
}

export interface ReportGiven {
  readonly site: ClusterSite;
  readonly title: string;
  readonly before: readonly NodeView[];
  readonly rolled: Rolled;
  readonly watched: readonly Watched[];
  readonly notes: readonly string[];
}

export function reportOf({ site, title, before, rolled, watched, notes }: ReportGiven): RolloutReport {
  const { outcomes, failure, views, outside } = rolled;
  const wasThere = ![...outcomes.values()].some((outcome) => ['changed', 'not begun'].includes(outcome));
  return {
    outcome:
      failure !== undefined ? 'failed' : rolled.isStopped ? 'stopped' : wasThere ? 'unchanged' : 'done',
    title,
    nodes: site.nodes.map(({ name }) => {
      const view = views.find(({ node }) => node === name);
      return {
        node: name,
        outcome: outcomes.get(name) ?? 'not begun',
        before: releaseOf(before.find(({ node }) => node === name)),
        now: releaseOf(view),
        digest: view?.status?.bundle.digest ?? null,
        holds: view === undefined ? [] : heldBy(view, site).map((vip) => vip.name),
      };
    }),
    vips: site.vips.map((vip) => ({
      name: vip.name,
      address: vip.address,
      holders: holdersOf(vip, views),
      answers: outside.get(vip.address) ?? null,
    })),
    watched,
    notes,
    failure: failure ?? null,
  };
}

export interface UnchangedGiven {
  readonly outcome: 'checked' | 'declined';
  readonly site: ClusterSite;
  readonly title: string;
  readonly views: readonly NodeView[];
  readonly notes: readonly string[];
}

/** Of a rollout that was not begun. */
export function unchangedReport({ outcome, site, title, views, notes }: UnchangedGiven): RolloutReport {
  const rolled: Rolled = {
    outcomes: new Map(),
    failure: undefined,
    isStopped: false,
    views,
    outside: new Map(),
  };
  return { ...reportOf({ site, title, before: views, rolled, watched: [], notes }), outcome };
}

export function releaseOf(view: NodeView | undefined): string {
  if (view?.reach !== 'answered') return 'not reachable';
  if (view.status === null) return view.words === '' ? 'nothing' : 'unknown';
  const { bundle, unfinished } = view.status;
  return `${bundle.name} ${bundle.version}${unfinished === null ? '' : ' (a run is not finished)'}`;
}

export function renderReport(report: RolloutReport): string {
  const summary = SUMMARY[report.outcome] === '' ? [] : [`${report.title}: ${SUMMARY[report.outcome]}`];
  // The outline that was shown before has all the rest.
  if (report.outcome === 'checked' || report.outcome === 'declined') return [...summary, ''].join('\n');
  return [
    ...table(
      report.nodes.map(({ node, before, now, outcome, holds }) => [
        node,
        before === now ? now : `${before} → ${now}`,
        outcome,
        holds.length === 0 ? '' : `holds ${holds.join(', ')}`,
      ]),
    ),
    ...report.vips.map(
      ({ name, address, holders, answers }) =>
        `VIP ${name} (${address}): ${holders.length === 0 ? 'held by nobody' : `held by ${list(holders)}`}${answers === null ? '' : answers ? ', answers from here' : ', does not answer from here'}`,
    ),
    ...report.watched.map(watchedInWords),
    ...report.notes.map((note) => `note: ${note}`),
    ...summary,
    '',
  ].join('\n');
}

const SUMMARY: Record<RolloutReport['outcome'], string> = {
  done: 'every node has it, its services run, and each VIP has one holder',
  unchanged: 'every node had it already; nothing was changed',
  checked: 'this was the check only; nothing that runs was changed',
  declined: 'nothing that runs was changed',
  stopped: 'stopped as asked, between two nodes; the same command goes on',
  failed: '',
};

function watchedInWords({ service, address, port, attempts, failures, longestGapMs }: Watched): string {
  const where = `watched from here: ${service} at ${address}:${String(port)}`;
  return longestGapMs === null
    ? `${where}: never answered in ${String(attempts)} attempts`
    : `${where}: ${String(attempts)} connections, ${String(failures)} failed, longest gap ${(longestGapMs / 1000).toFixed(1)} s`;
}

export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** The error that a rollout ends with, which says where everything stands. */
export function rolloutError(report: RolloutReport, commands: { goOn: string; goBack: string }): BundleError {
  const { failure, nodes, vips } = report;
  const of = (outcome: NodeOutcome): string[] =>
    nodes.filter((line) => line.outcome === outcome).map(({ node }) => node);
  const serving = vips.map(({ name, holders, answers }) =>
    holders.length === 0
      ? `VIP ${name}: nobody holds it`
      : `VIP ${name}: ${list(holders)}${answers === false ? ', which does not answer from here' : ''}`,
  );
  const details = [
    ...(failure?.code === undefined ? [] : [`error[${failure.code}]`]),
    ...(failure?.details ?? []),
    ...nodes.map(({ node, now, outcome }) => `${node}: ${now}, ${outcome}`),
    ...serving,
  ];
  const done = of('changed');
  return new BundleError({
    code: 'ROLLOUT_STOPPED',
    message: `the rollout ended at ${failure?.node ?? 'a node'} (${failure?.stage ?? ''}): ${failure?.message ?? ''}; ${done.length === 0 ? 'no other node was changed' : `changed before it: ${list(done)}`}`,
    where: `node ${failure?.node ?? ''}`,
    details,
    hint: [
      ...(failure?.hint === undefined ? [] : [failure.hint]),
      `To go on, when its cause is mended: ${commands.goOn}`,
      isOneToGoBackFrom(report)
        ? `To go back: ${commands.goBack}`
        : 'Every node has what it had, so there is nothing to go back from: deploy --rollback would take that off.',
    ].join('\n'),
    exit: EXIT.someNodesFailed,
  });
}

/** A first node that took itself back, or was never begun, has left the nodes as they were. */
function isOneToGoBackFrom({ failure, nodes }: RolloutReport): boolean {
  return (
    failure?.stage === 'check' ||
    nodes.some(
      ({ before, now, outcome }) => before !== now || outcome === 'changed' || outcome === 'was there',
    )
  );
}
