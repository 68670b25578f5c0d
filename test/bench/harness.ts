/*
 * What a benchmark is here: the same work done by several contenders in turn (A B C A B C …), so that other
 * work on the machine hits all of them, and ratios of the same round. Below 1, ours took less.
 */

import { closeSync, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';

/** What one round took. */
export interface Cost {
  readonly ms: number;
  /** User and system time of all its processes; undefined where nobody counts it. */
  readonly cpuMs?: number | undefined;
  /** Of its largest process. */
  readonly peakMiB?: number | undefined;
  /** Until the disk had it, after `ms`. */
  readonly syncMs?: number | undefined;
}

export interface Contender {
  readonly name: string;
  /** The exact command, or what stands for it. */
  readonly command: string;
  readonly round: () => Promise<Cost>;
  /** Not measured: puts things as they were. */
  readonly after?: () => Promise<void>;
}

export interface Rival extends Contender {
  /** The first of ours may take so many times what this one takes. */
  readonly goal?: number | undefined;
}

export interface Race {
  /** Each is compared with each rival. */
  readonly ours: readonly Contender[];
  readonly rivals: readonly Rival[];
  readonly rounds: number;
  /** What a round writes, where that is much: see warmMemory(). */
  readonly writesBytes?: number;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One line of the table. */
export interface Figure {
  readonly name: string;
  /** Ours ÷ theirs, of the same rounds; null: there is nothing to divide by. */
  readonly ratio: number | null;
  /** At most: for the ratio where there is one, for `ours` otherwise. */
  readonly goal: number | null;
  /** null: there is no goal. */
  readonly met: boolean | null;
  /** Medians, in `unit`. */
  readonly ours: number;
  readonly theirs: number | null;
  readonly unit: 's' | 'MiB' | 'KiB';
  readonly more?: {
    readonly rounds: number;
    readonly ratioMin: number;
    readonly ratioMax: number;
    readonly cpuRatio: number | null;
    readonly oursCost: Record<'ms' | 'cpuMs' | 'peakMiB' | 'syncMs', Spread | null>;
    readonly theirsCost: Record<'ms' | 'cpuMs' | 'peakMiB' | 'syncMs', Spread | null>;
    readonly oursCommand: string;
    readonly theirsCommand: string;
  };
}

/** What a group could not measure, and why. */
export interface Skipped {
  readonly name: string;
  readonly skipped: string;
}

export interface Setting {
  /** Small payloads, for CI: minutes become seconds. */
  readonly short: boolean;
  /** An empty folder on a real disk. */
  readonly scratch: string;
  readonly note: (text: string) => void;
}

export interface Group {
  readonly name: string;
  readonly about: string;
  run(setting: Setting): AsyncIterable<Figure | Skipped>;
}

export const ROUNDS = 5;

/** Pure. @throws RangeError for no numbers */
export function spread(numbers: readonly number[]): Spread {
  const sorted = [...numbers].sort((a, b) => a - b);
  const [min] = sorted;
  const max = sorted.at(-1);
  if (min === undefined || max === undefined) throw new RangeError('a median of nothing');
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? max;
  return { median: sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2, min, max };
}

/**
 * Takes memory and gives it back, so that every round writes into pages that the machine has. A virtual machine may
 * return free memory to its host (page reporting); whoever writes next into the page cache then waits for the host,
 * which made one pass over 1 GiB take 1.3 or 3.2 s.
 */
function warmMemory(bytes: number): void {
  const place = '/dev/shm';
  if (bytes === 0 || !existsSync(place)) return;
  const file = path.join(place, `airbundle-bench-${String(process.pid)}`);
  const piece = Buffer.alloc(1024 * 1024);
  const target = openSync(file, 'w');
  try {
    for (let at = 0; at < bytes; at += piece.length) writeSync(target, piece);
  } finally {
    closeSync(target);
    rmSync(file);
  }
}

/** Runs a race. @returns a figure for each of ours and each rival */
export async function race({ ours, rivals, rounds, writesBytes = 0 }: Race): Promise<Figure[]> {
  const costs = new Map<Contender, Cost[]>([...ours, ...rivals].map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round += 1)
    for (const [contender, list] of costs) {
      warmMemory(writesBytes);
      list.push(await contender.round());
      await contender.after?.();
    }
  return ours.flatMap((mine, index) =>
    rivals.map((rival) => {
      const { goal, ...contender } = rival;
      return figureOf(
        mine,
        index === 0 ? { ...contender, goal } : contender,
        costs.get(mine) ?? [],
        costs.get(rival) ?? [],
      );
    }),
  );
}

/** Pure: the figure of two contenders' rounds, the same number of each. */
export function figureOf(
  ours: Contender,
  rival: Rival,
  oursCosts: readonly Cost[],
  rivalCosts: readonly Cost[],
): Figure {
  const ratios = spread(oursCosts.map(({ ms }, index) => ms / (rivalCosts[index]?.ms ?? Number.NaN)));
  const mine = costSpreads(oursCosts);
  const theirs = costSpreads(rivalCosts);
  return {
    name: `${ours.name} ÷ ${rival.name}`,
    ratio: ratios.median,
    goal: rival.goal ?? null,
    met: rival.goal === undefined ? null : ratios.median <= rival.goal,
    ours: (mine.ms?.median ?? Number.NaN) / 1000,
    theirs: (theirs.ms?.median ?? Number.NaN) / 1000,
    unit: 's',
    more: {
      rounds: oursCosts.length,
      ratioMin: ratios.min,
      ratioMax: ratios.max,
      cpuRatio: mine.cpuMs === null || theirs.cpuMs === null ? null : mine.cpuMs.median / theirs.cpuMs.median,
      oursCost: mine,
      theirsCost: theirs,
      oursCommand: ours.command,
      theirsCommand: rival.command,
    },
  };
}

/** A figure without a rival: a size, or a time with a limit of its own. */
export function plainFigure(
  name: string,
  ours: number,
  unit: Figure['unit'],
  goal: number | null = null,
): Figure {
  return { name, ratio: null, goal, met: goal === null ? null : ours <= goal, ours, theirs: null, unit };
}

function costSpreads(costs: readonly Cost[]): Record<'ms' | 'cpuMs' | 'peakMiB' | 'syncMs', Spread | null> {
  const of = (field: keyof Cost): Spread | null => {
    const numbers = costs.flatMap((cost) => cost[field] ?? []);
    return numbers.length === 0 ? null : spread(numbers);
  };
  return { ms: of('ms'), cpuMs: of('cpuMs'), peakMiB: of('peakMiB'), syncMs: of('syncMs') };
}
