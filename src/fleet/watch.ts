import type { ServiceTarget } from './cluster.js';

/** How a service answered from outside while nodes were changed. */
export interface Watched extends ServiceTarget {
  readonly attempts: number;
  readonly failures: number;
  /** The longest time between two answers; null: it never answered here. */
  readonly longestGapMs: number | null;
}

export interface Watcher {
  /** Ends it, and waits for what is still under way. */
  stop(): Promise<Watched[]>;
}

export interface WatchGiven {
  readonly targets: readonly ServiceTarget[];
  readonly answers: (target: ServiceTarget) => Promise<boolean>;
  readonly now: () => number;
  /** Calls `work` again and again until the returned function is called. */
  readonly every: (intervalMs: number, work: () => void) => () => void;
}

const EVERY_MS = 100;
/** Attempts at one service at a time: one that hangs must not hide the next answer. */
const AT_ONCE = 20;
const MAX_TARGETS = 20;

/** Connects to each service about ten times a second until it is stopped. */
export function watch({ targets, answers, now, every }: WatchGiven): Watcher {
  const lines = targets.slice(0, MAX_TARGETS).map((target) => oneLine(target, answers, now));
  const end = every(EVERY_MS, () => {
    for (const line of lines) line.attempt();
  });
  return {
    stop: async () => {
      end();
      return Promise.all(lines.map((line) => line.close()));
    },
  };
}

interface Line {
  attempt(): void;
  close(): Promise<Watched>;
}

function oneLine(target: ServiceTarget, answers: WatchGiven['answers'], now: () => number): Line {
  const open = new Set<Promise<void>>();
  let attempts = 0;
  let failures = 0;
  let lastMs: number | undefined;
  let longestMs = 0;
  const seen = (atMs: number): void => {
    if (lastMs !== undefined) longestMs = Math.max(longestMs, atMs - lastMs);
    lastMs = Math.max(lastMs ?? atMs, atMs);
  };
  const once = async (): Promise<void> => {
    const isThere = await answers(target);
    attempts += 1;
    if (isThere) seen(now());
    // Before the first answer there was no service to lose.
    else if (lastMs !== undefined) failures += 1;
  };
  return {
    attempt: () => {
      if (open.size >= AT_ONCE) return;
      const one = once().finally(() => open.delete(one));
      open.add(one);
    },
    close: async () => {
      const endMs = now();
      await Promise.all(open);
      // A service that is away at the end is away at least until now.
      if (lastMs !== undefined) longestMs = Math.max(longestMs, endMs - lastMs);
      return {
        ...target,
        attempts,
        failures,
        longestGapMs: lastMs === undefined ? null : Math.round(longestMs),
      };
    },
  };
}
