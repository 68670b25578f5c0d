import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../machines.js';
import type { PackedBundle } from '../walk/packager.js';
import { deploy, rollBack, type Show } from './delivery.js';
import { handOver, type Roles, roles, sh } from './pair.js';

/** What the scenarios change, beside the pair itself. */
export interface Given {
  readonly lab: Lab;
  readonly packed: PackedBundle;
  /** The next release, on the jump host's medium. */
  readonly next: PackedBundle;
  /** Folders with a site file and its secret: one backend more; and what goes with the next release. */
  readonly largerSite: string;
  readonly nextSite: string;
  /** Sees what is typed to deploy. */
  readonly show?: Show;
}

export interface Goal {
  /** No answer to anybody for at most this long. */
  readonly gapMs: number;
  /**
   * No call that is sent again fails. What cuts connections, a moved VIP or a crash, can hit a call whose answer had
   * begun: gRPC does not send that one again. Any other that is sent again must never fail.
   */
  readonly keepsConnections: boolean;
  /** A stream that broke and is begun again comes to its end. */
  readonly takesStreamsAgain: boolean;
  /** No stream breaks whose connection sends no pings (see load.ts). */
  readonly keepsStreams?: true;
  /**
   * Where the VIP is at the end: on the same node, on the other one, on either; never back and forth. `returns` is
   * VRRP's own rule when two masters meet: the one with the lower priority gives way, nopreempt or not.
   */
  readonly holders: 'same' | 'other' | 'either' | 'returns';
  /** How long two nodes may hold the VIP; 0 when absent. */
  readonly twoHoldersMs?: number;
}

export interface Scenario {
  readonly name: string;
  readonly goal: Goal;
  /** The node that must hold the VIP first. */
  readonly from?: string;
  hurt(given: Given, roles: Roles): Promise<unknown>;
  /** How long the fault lasts; 0 when it is over at once. */
  readonly lastsMs: number;
  heal?(given: Given, roles: Roles): Promise<unknown>;
  /** How long it is watched after that. */
  readonly watchedMs: number;
}

const BACKEND = 'tts1';
/** Longer than a standby waits for a silent peer. */
const TAKEOVER_MS = 5000;
const FAIL_BACK_MS = 4000;

const backendDeath: Goal = { gapMs: 1000, keepsConnections: true, takesStreamsAgain: true, holders: 'same' };
const haproxyDeath: Goal = {
  gapMs: 3000,
  keepsConnections: false,
  takesStreamsAgain: false,
  holders: 'either',
};
const nodeDeath: Goal = { gapMs: 4000, keepsConnections: false, takesStreamsAgain: false, holders: 'other' };
const planned: Goal = { gapMs: 1000, keepsConnections: false, takesStreamsAgain: true, holders: 'other' };

const signalBackend = ({ lab }: Given, word: string): Promise<string> =>
  sh(lab, BACKEND, `/srv/serve ${word}`);

const frozen: Pick<Scenario, 'hurt' | 'lastsMs' | 'heal' | 'watchedMs'> = {
  hurt: ({ lab }, { active }) => lab.freeze(active),
  lastsMs: TAKEOVER_MS,
  heal: ({ lab }, { active }) => lab.thaw(active),
  watchedMs: FAIL_BACK_MS,
};

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'stop a backend: it ends its calls',
    goal: { ...backendDeath, keepsStreams: true },
    hurt: (given) => signalBackend(given, 'TERM'),
    lastsMs: 4000,
    heal: (given) => signalBackend(given, 'start'),
    watchedMs: 1500,
  },
  {
    name: 'kill -9 a backend',
    goal: backendDeath,
    hurt: (given) => signalBackend(given, 'KILL'),
    lastsMs: 4000,
    heal: (given) => signalBackend(given, 'start'),
    watchedMs: 1500,
  },
  {
    name: 'kill -9 the haproxy worker',
    goal: haproxyDeath,
    hurt: ({ lab }, { active }) =>
      sh(lab, active, 'kill -KILL $(pgrep -P $(systemctl show -p MainPID haproxy | cut -d= -f2))'),
    lastsMs: 0,
    watchedMs: 5000,
  },
  {
    name: 'kill -9 the haproxy master',
    goal: haproxyDeath,
    hurt: ({ lab }, { active }) =>
      sh(lab, active, 'kill -KILL $(systemctl show -p MainPID haproxy | cut -d= -f2)'),
    lastsMs: 0,
    watchedMs: 5000,
  },
  {
    name: 'stop haproxy',
    goal: { ...haproxyDeath, holders: 'other' },
    hurt: ({ lab }, { active }) => sh(lab, active, 'systemctl stop haproxy'),
    lastsMs: 5000,
    heal: ({ lab }, { active }) => sh(lab, active, 'systemctl start haproxy'),
    watchedMs: FAIL_BACK_MS,
  },
  {
    name: 'stop keepalived',
    goal: planned,
    hurt: ({ lab }, { active }) => sh(lab, active, 'systemctl stop keepalived'),
    lastsMs: 2500,
    heal: ({ lab }, { active }) => sh(lab, active, 'systemctl start keepalived'),
    watchedMs: FAIL_BACK_MS,
  },
  {
    name: 'kill -9 keepalived',
    goal: nodeDeath,
    hurt: ({ lab }, { active }) => sh(lab, active, 'kill -KILL $(pgrep -x keepalived)'),
    lastsMs: 0,
    watchedMs: TAKEOVER_MS + 2000,
  },
  {
    name: 'freeze lb2, then let it go on',
    // A machine that stands still keeps its addresses, and gives no answer.
    goal: { ...nodeDeath, twoHoldersMs: TAKEOVER_MS },
    from: 'lb2',
    ...frozen,
  },
  {
    name: 'freeze lb1, then let it go on',
    goal: { ...nodeDeath, twoHoldersMs: TAKEOVER_MS, holders: 'returns' },
    from: 'lb1',
    ...frozen,
  },
  {
    name: "pull the active node's cable",
    goal: nodeDeath,
    hurt: ({ lab }, { active }) => lab.cable(active, 'out'),
    lastsMs: TAKEOVER_MS,
    heal: ({ lab }, { active }) => lab.cable(active, 'in'),
    watchedMs: FAIL_BACK_MS,
  },
  {
    name: 'reload with a new backend',
    goal: { ...planned, holders: 'same', keepsConnections: true, keepsStreams: true },
    hurt: ({ lab, packed, largerSite, show }) => deploy(lab, packed, largerSite, show),
    lastsMs: 0,
    watchedMs: 3000,
  },
  {
    name: 'upgrade to 1.1.0, one node after the other',
    goal: planned,
    hurt: ({ lab, next, nextSite, show }) => deploy(lab, next, nextSite, show),
    lastsMs: 0,
    watchedMs: 1500,
  },
  {
    name: 'rollback to 1.0.0, one node after the other',
    goal: planned,
    hurt: ({ lab, show }) => rollBack(lab, show),
    lastsMs: 0,
    watchedMs: 1500,
  },
];

/** Brings the VIP to where the scenario wants it. */
export async function prepare(lab: Lab, from: string | undefined): Promise<Roles> {
  const found = await roles(lab);
  if (from === undefined || found.active === from) return found;
  await handOver(lab, found.active, from);
  await sleep(1000);
  return roles(lab);
}
