import { setTimeout as sleep } from 'node:timers/promises';
import { summaryOf, type LoadSummary } from '../grpc/load-report.js';
import { startLoad } from '../load.js';
import { watchVip, type VipReport } from '../vip-watch.js';
import { SERVICE_PORT } from '../walk/site.js';
import { healthyPair } from './pair.js';
import { prepare, type Given, type Scenario } from './scenarios.js';

/** What a scenario cost the clients, and who held the VIP. */
export interface Outcome {
  readonly scenario: Scenario;
  readonly load: LoadSummary;
  readonly vip: VipReport;
  /** The nodes that the VIP was with, in order. */
  readonly path: readonly string[];
  /** The longest time that a process of this machine which wanted to run did not: no time is finer than this. */
  readonly stalledMs: number;
  readonly tookMs: number;
}

const CALLS_PER_SECOND = 50;
const CONNECTIONS = 3;
const STREAMS = 6;
const STREAM_PIECES = 40;
const MAX_SECONDS = 900;
const BEFORE_MS = 700;

/** From a healthy pair to a healthy pair, under load all the way. */
export async function measure(given: Given, scenario: Scenario): Promise<Outcome> {
  const { lab } = given;
  await healthyPair(lab);
  const client = Object.values(lab.clients)[0];
  if (client === undefined) throw new TypeError('the lab has no client');
  const roles = await prepare(lab, scenario.from);
  const load = await startLoad(client, {
    target: `${lab.vip}:${String(SERVICE_PORT)}`,
    callsPerSecond: CALLS_PER_SECOND,
    connections: CONNECTIONS,
    streams: STREAMS,
    streamPieces: STREAM_PIECES,
    maxSeconds: MAX_SECONDS,
  });
  const watch = await watchVip(lab);
  const startMs = performance.now();
  try {
    await sleep(BEFORE_MS);
    await scenario.hurt(given, roles);
    await sleep(scenario.lastsMs);
    await scenario.heal?.(given, roles);
    await sleep(scenario.watchedMs);
  } catch (error) {
    await Promise.allSettled([load.stop(), watch.stop()]);
    throw error;
  }
  const tookMs = performance.now() - startMs;
  const report = await load.stop();
  const vip = await watch.stop();
  return {
    scenario,
    load: summaryOf(report),
    vip,
    path: pathOf(vip),
    stalledMs: Math.round(Math.max(report.stalledMs, vip.stalledMs)),
    tookMs,
  };
}

/** Of two holders the newcomer counts: the other one is cut off, or about to give way. */
function pathOf({ holders }: VipReport): string[] {
  const path: string[] = [];
  for (const { names } of holders) {
    const last = path.at(-1);
    const held = names.split('+');
    const now = held.find((name) => name !== last && name !== 'nobody') ?? held[0];
    if (now !== undefined && now !== 'nobody' && now !== last) path.push(now);
  }
  return path;
}
