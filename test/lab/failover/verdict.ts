import type { Outcome } from './measure.js';

/**
 * What a scenario cost more than its goal allows; nothing when it kept it. Times may be longer by the longest time
 * that this machine let a process wait, which is measured beside.
 */
export function missed({ scenario, load, vip, path, stalledMs }: Outcome): string[] {
  const {
    gapMs,
    keepsConnections,
    keepsStreams,
    takesStreamsAgain,
    holders,
    twoHoldersMs = 0,
  } = scenario.goal;
  const limit = (ms: number): string => `${String(ms)} ms and ${String(stalledMs)} ms of a busy machine`;
  return [
    ...(load.noServiceMs > gapMs + stalledMs
      ? [`no service for ${String(load.noServiceMs)} ms; allowed: ${limit(gapMs)}`]
      : []),
    ...(keepsConnections && load.failedRetried > 0
      ? [`${String(load.failedRetried)} calls failed although they were sent again`]
      : []),
    ...(!keepsConnections && load.lostRetried > 0
      ? [`${String(load.lostRetried)} calls failed although they could be sent again`]
      : []),
    ...(keepsStreams && load.brokenWithoutPings > 0
      ? [`${String(load.brokenWithoutPings)} streams broke whose connection sends no pings`]
      : []),
    ...(takesStreamsAgain && load.failedStreams > 0
      ? [`${String(load.failedStreams)} streams broke again after their restart`]
      : []),
    ...(vip.twoHoldersMs > twoHoldersMs + stalledMs
      ? [`two nodes held the VIP for ${String(vip.twoHoldersMs)} ms; allowed: ${limit(twoHoldersMs)}`]
      : []),
    ...(holdersAsWanted(path, holders) ? [] : [`the VIP was with ${path.join(', then ')}`]),
  ];
}

function holdersAsWanted(path: readonly string[], wanted: Outcome['scenario']['goal']['holders']): boolean {
  switch (wanted) {
    case 'same':
      return path.length === 1;
    case 'other':
      return path.length === 2;
    case 'either':
      return path.length <= 2;
    case 'returns':
      return path.length === 3;
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** A table for a person: one line a scenario. */
export function table(outcomes: readonly Outcome[]): string[] {
  const rows = [
    [
      'scenario',
      'failed, sent once',
      'failed, sent again',
      'no service',
      'standing clients',
      'streams: all, broken (without pings), lost',
      'VIP',
      'with two',
      'goal',
    ],
    ...outcomes.map((outcome) => {
      const { scenario, load, vip, path } = outcome;
      return [
        scenario.name,
        `${String(load.failedOnce)} of ${String(load.sentOnce)}`,
        `${String(load.failedRetried)} of ${String(load.retried)}`,
        seconds(load.noServiceMs),
        seconds(load.standingGapMs),
        `${String(load.streams)}, ${String(load.brokenStreams)} (${String(load.brokenWithoutPings)}), ${String(load.failedStreams)}`,
        path.join(' > '),
        vip.twoHoldersMs === 0 ? '-' : seconds(vip.twoHoldersMs),
        missed(outcome).length === 0 ? `kept (${seconds(scenario.goal.gapMs)})` : 'MISSED',
      ];
    }),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
