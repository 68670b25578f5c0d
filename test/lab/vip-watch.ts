import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from './machines.js';

const EVERY_MS = 50;

export interface VipReport {
  /** Who held the VIP, as it changed: `lb1`, `lb1+lb2`, or `nobody`. */
  readonly holders: readonly { readonly atMs: number; readonly names: string }[];
  /** The longest time without a break that more than one node held it. */
  readonly twoHoldersMs: number;
  readonly nobodyMs: number;
  /** The longest time that a look came too late. */
  readonly stalledMs: number;
}

export interface VipWatch {
  stop(): Promise<VipReport>;
}

/** The kernel's own list, which also a machine whose processes stand still has; `ip addr` reads the same. */
const holds = async (pid: number, vip: string): Promise<boolean> => {
  const routes = await readFile(`/proc/${String(pid)}/net/fib_trie`, 'utf8').catch(() => '');
  const lines = routes.split('\n');
  return lines.some(
    (line, at) => line.endsWith(`-- ${vip}`) && (lines[at + 1] ?? '').includes('/32 host LOCAL'),
  );
};

/** Who holds the lab's VIP now. */
export const holdersOf = async (lab: Lab): Promise<string[]> => {
  const names: string[] = [];
  for (const name of Object.keys(lab.nodes))
    if (await holds(await lab.pidOf(name), lab.vip)) names.push(name);
  return names;
};

/** Looks from this host into the kernel of each node, many times a second. */
export const watchVip = async (lab: Lab): Promise<VipWatch> => {
  const nodes = await Promise.all(
    Object.keys(lab.nodes).map(async (name) => ({ name, pid: await lab.pidOf(name) })),
  );
  const holders: { atMs: number; names: string }[] = [];
  let stalledMs = 0;
  const state = { stopped: false };
  const look = async (): Promise<void> => {
    const seen = await Promise.all(
      nodes.map(async ({ name, pid }) => ((await holds(pid, lab.vip)) ? name : '')),
    );
    const names = seen.filter(Boolean).join('+') || 'nobody';
    if (holders.at(-1)?.names !== names) holders.push({ atMs: Date.now(), names });
  };
  const watching = (async () => {
    for (let lastMs = Date.now(); !state.stopped; lastMs = Date.now()) {
      await look();
      await sleep(EVERY_MS);
      stalledMs = Math.max(stalledMs, Date.now() - lastMs - EVERY_MS);
    }
  })();
  return {
    stop: async () => {
      state.stopped = true;
      await watching;
      const endMs = Date.now();
      const longest = (of: (names: string) => boolean): number =>
        Math.max(
          0,
          ...holders.map((one, at) => (of(one.names) ? (holders[at + 1]?.atMs ?? endMs) - one.atMs : 0)),
        );
      return {
        holders,
        twoHoldersMs: longest((names) => names.includes('+')),
        nobodyMs: longest((names) => names === 'nobody'),
        stalledMs,
      };
    },
  };
};
