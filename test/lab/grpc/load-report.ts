/** What the load client is told, and what it tells. Times are milliseconds of the machine's clock. */

export interface LoadSettings {
  /** HOST:PORT */
  readonly target: string;
  readonly callsPerSecond: number;
  /** Connections of each kind: with retry, and without. */
  readonly connections: number;
  /** Streams that are open at any time, half of each kind. */
  readonly streams: number;
  /** Pieces of a stream, one each 100 ms. */
  readonly streamPieces: number;
  readonly maxSeconds: number;
}

/** A standing client that sends each call once, one that sends it again, or one that is made for this call. */
export type ClientKind = 'once' | 'retrying' | 'new';

export interface CallRecord {
  readonly client: ClientKind;
  readonly startMs: number;
  readonly endMs: number;
  readonly backend?: string;
  readonly error?: string;
  /** The answer had begun when it broke: gRPC does not send such a call again. */
  readonly begun?: true;
}

/**
 * How a stream's client notices that its server is gone: by pings of its connection, or because no piece came for
 * longer than one may take. The latter's connection sends no pings.
 */
export type StreamKind = 'pings' | 'pieces';

export interface StreamRecord {
  readonly noticedBy: StreamKind;
  readonly startMs: number;
  /** Why it broke, and when. */
  readonly broken?: string;
  readonly brokenMs?: number;
  /** Why its one restart broke too. */
  readonly failed?: string;
}

export interface LoadReport {
  readonly beganMs: number;
  readonly endedMs: number;
  /** The longest time that the client got no processor. */
  readonly stalledMs: number;
  readonly calls: readonly CallRecord[];
  readonly streams: readonly StreamRecord[];
}

export interface LoadSummary {
  /** Of standing clients that send each call once. */
  readonly sentOnce: number;
  readonly failedOnce: number;
  /** Of standing clients that send a call again when the answer is UNAVAILABLE. */
  readonly retried: number;
  readonly failedRetried: number;
  /** Of `failedRetried`, those that gRPC could have sent again: no answer had begun. */
  readonly lostRetried: number;
  /** The longest time between two answers to any client: how long there was no service. */
  readonly noServiceMs: number;
  /** The same for the standing clients, which have to find out that their connections are dead. */
  readonly standingGapMs: number;
  readonly streams: number;
  readonly brokenStreams: number;
  /** Of those, the ones whose connection sends no pings. */
  readonly brokenWithoutPings: number;
  /** Broken again when they were begun again. */
  readonly failedStreams: number;
  /** Words of errors with their number. */
  readonly errors: Readonly<Record<string, number>>;
  readonly backends: Readonly<Record<string, number>>;
}

export const summaryOf = (report: LoadReport): LoadSummary => {
  const standing = report.calls.filter((call) => call.client !== 'new');
  const failed = standing.filter((call) => call.error !== undefined);
  const broken = report.streams.filter((stream) => stream.broken !== undefined);
  return {
    sentOnce: standing.filter((call) => call.client === 'once').length,
    failedOnce: failed.filter((call) => call.client === 'once').length,
    retried: standing.filter((call) => call.client === 'retrying').length,
    failedRetried: failed.filter((call) => call.client === 'retrying').length,
    lostRetried: failed.filter((call) => call.client === 'retrying' && call.begun === undefined).length,
    noServiceMs: longestGap(report, report.calls),
    standingGapMs: longestGap(report, standing),
    streams: report.streams.length,
    brokenStreams: broken.length,
    brokenWithoutPings: broken.filter((stream) => stream.noticedBy === 'pieces').length,
    failedStreams: broken.filter((stream) => stream.failed !== undefined).length,
    errors: counted([
      ...failed.map(({ error = '', begun }) => (begun ? `${error} (its answer had begun)` : error)),
      ...broken.map(({ noticedBy, broken: why = '' }) => `stream, by ${noticedBy}, ${why}`),
      ...broken.flatMap((stream) => (stream.failed === undefined ? [] : [`again ${stream.failed}`])),
    ]),
    backends: counted(standing.map((call) => call.backend)),
  };
};

function longestGap({ beganMs, endedMs }: LoadReport, calls: readonly CallRecord[]): number {
  const answered = calls
    .filter((call) => call.error === undefined)
    .map((call) => call.endMs)
    .sort((one, other) => one - other);
  let lastMs = beganMs;
  let longestMs = 0;
  for (const atMs of [...answered, endedMs]) {
    longestMs = Math.max(longestMs, atMs - lastMs);
    lastMs = Math.max(lastMs, atMs);
  }
  return longestMs;
}

function counted(words: readonly (string | undefined)[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const word of words) if (word !== undefined) found[word] = (found[word] ?? 0) + 1;
  return found;
}
