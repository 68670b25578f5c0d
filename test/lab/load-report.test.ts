import { describe, expect, it } from 'vitest';
import { missed } from './failover/verdict.js';
import { SCENARIOS, type Goal, type Scenario } from './failover/scenarios.js';
import {
  summaryOf,
  type CallRecord,
  type ClientKind,
  type LoadReport,
  type StreamRecord,
} from './grpc/load-report.js';

const answered = (client: ClientKind, endMs: number): CallRecord => ({
  client,
  startMs: endMs - 5,
  endMs,
  backend: 'tts1',
});
const failed = (client: ClientKind, endMs: number): CallRecord => ({
  client,
  startMs: endMs - 5,
  endMs,
  error: 'UNAVAILABLE: gone',
});
const report = (calls: readonly CallRecord[], more: Partial<LoadReport> = {}): LoadReport => ({
  beganMs: 1000,
  endedMs: 2000,
  stalledMs: 0,
  calls,
  streams: [],
  ...more,
});

describe('the summary of a load', () => {
  it('counts failed calls by whether the client sent them again', () => {
    const summary = summaryOf(
      report([failed('once', 1100), failed('once', 1200), failed('retrying', 1300), answered('once', 1400)]),
    );
    expect([summary.sentOnce, summary.failedOnce]).toEqual([3, 2]);
    expect([summary.retried, summary.failedRetried]).toEqual([1, 1]);
    expect(summary.errors).toEqual({ 'UNAVAILABLE: gone': 3 });
  });

  it('measures the longest time without an answer, from the first moment to the last', () => {
    expect(summaryOf(report([])).noServiceMs).toBe(1000);
    expect(summaryOf(report([answered('once', 1300)])).noServiceMs).toBe(700);
    expect(summaryOf(report([answered('once', 1300), answered('retrying', 1900)])).noServiceMs).toBe(600);
  });

  it('lets a new client show that the service is there, while standing ones still wait', () => {
    const summary = summaryOf(report([answered('once', 1100), answered('new', 1500), failed('new', 1600)]));
    expect([summary.noServiceMs, summary.standingGapMs, summary.sentOnce]).toEqual([500, 900, 1]);
  });

  it('tells calls that gRPC does not send again, since their answer had begun', () => {
    const summary = summaryOf(
      report([failed('retrying', 1100), { ...failed('retrying', 1200), begun: true }, failed('once', 1300)]),
    );
    expect([summary.failedRetried, summary.lostRetried]).toEqual([2, 1]);
    expect(summary.errors).toEqual({
      'UNAVAILABLE: gone': 2,
      'UNAVAILABLE: gone (its answer had begun)': 1,
    });
  });

  it('tells streams that broke from those that broke again, and with which clients', () => {
    const gone = { startMs: 1000, broken: 'UNAVAILABLE: gone', brokenMs: 1500 };
    const streams: StreamRecord[] = [
      { noticedBy: 'pings', startMs: 1000 },
      { noticedBy: 'pings', ...gone },
      { noticedBy: 'pieces', ...gone, failed: 'UNAVAILABLE: gone' },
    ];
    const summary = summaryOf(report([], { streams }));
    expect([summary.streams, summary.brokenStreams, summary.failedStreams]).toEqual([3, 2, 1]);
    expect(summary.brokenWithoutPings).toBe(1);
    expect(summary.errors).toEqual({
      'stream, by pings, UNAVAILABLE: gone': 1,
      'stream, by pieces, UNAVAILABLE: gone': 1,
      'again UNAVAILABLE: gone': 1,
    });
  });
});

describe('the verdict on a scenario', () => {
  const scenario = SCENARIOS.find(({ goal }) => goal.holders === 'other' && goal.takesStreamsAgain);
  if (scenario === undefined) throw new Error('no scenario with a planned failover');
  const kept = {
    scenario,
    load: summaryOf(report([answered('once', 1300), answered('once', 1700)])),
    vip: { holders: [], twoHoldersMs: 0, nobodyMs: 300, stalledMs: 0 },
    path: ['lb1', 'lb2'],
    stalledMs: 50,
    tookMs: 1000,
  };

  const goal = (change: Partial<Goal>): Scenario => ({ ...scenario, goal: { ...scenario.goal, ...change } });

  it('finds nothing where the goal was kept', () => {
    expect(missed(kept)).toEqual([]);
  });

  it('lets a moved VIP break streams, and calls whose answer had begun', () => {
    const load = { ...kept.load, brokenWithoutPings: 3, failedRetried: 1 };
    expect(missed({ ...kept, load })).toEqual([]);
  });

  it('allows what the machine itself was late, and not more', () => {
    expect(missed({ ...kept, load: { ...kept.load, noServiceMs: 1050 } })).toEqual([]);
    expect(missed({ ...kept, load: { ...kept.load, noServiceMs: 1051 } })).toEqual([
      'no service for 1051 ms; allowed: 1000 ms and 50 ms of a busy machine',
    ]);
  });

  it.each([
    [
      'a lost call where connections stay',
      { load: { ...kept.load, failedRetried: 1 }, scenario: goal({ keepsConnections: true }) },
    ],
    ['a lost stream', { load: { ...kept.load, failedStreams: 1 } }],
    [
      'a broken stream',
      { load: { ...kept.load, brokenWithoutPings: 1 }, scenario: goal({ keepsStreams: true }) },
    ],
    ['a call that could be sent again', { load: { ...kept.load, failedRetried: 1, lostRetried: 1 } }],
    ['two holders', { vip: { ...kept.vip, twoHoldersMs: 51 } }],
    ['a VIP that did not move', { path: ['lb1'] }],
    ['a VIP that came back', { path: ['lb1', 'lb2', 'lb1'] }],
  ])('finds %s', (_, change) => {
    expect(missed({ ...kept, ...change })).toHaveLength(1);
  });
});
