import { killGroup, momentGroup, pairGroup } from './kills.js';
import { clockGroup, diskGroup, raceGroup, stepGroup } from './mishaps.js';
import type { Options } from './options.js';
import type { Stage } from './stage.js';
import { raise } from './stage.js';
import type { GroupResult } from './tally.js';

/** A part of the campaign; those on a node share the miniature's nodes. */
type OnNode = (stage: Stage, options: Options) => Promise<GroupResult>;

const ON_NODE: Readonly<Record<string, OnNode>> = {
  kills: (stage, options) => killGroup(stage, 'fresh', options),
  'kills-next': (stage, options) => killGroup(stage, 'old', options),
  pairs: pairGroup,
  moments: momentGroup,
  disks: diskGroup,
  steps: stepGroup,
  clock: clockGroup,
  racers: raceGroup,
};

export const GROUPS: readonly string[] = Object.keys(ON_NODE);

export interface Campaign {
  readonly long: boolean;
  readonly seed: number;
  readonly groups: readonly string[];
  readonly nodes: number;
  /** When to begin no further case, in performance.now(). */
  readonly deadline: number;
  readonly onGroup: (result: GroupResult) => void;
}

export async function campaign(given: Campaign): Promise<GroupResult[]> {
  const results: GroupResult[] = [];
  const wanted = given.groups.filter((name) => name in ON_NODE);
  if (wanted.length === 0) return results;
  const stage = await raise(given.nodes);
  try {
    for (const [index, name] of wanted.entries()) {
      // Each group gets its share of what time is left, so that none is left out.
      const left = given.deadline - performance.now();
      const share = performance.now() + left / (wanted.length - index);
      const result = await ON_NODE[name]?.(stage, { long: given.long, seed: given.seed, deadline: share });
      if (result === undefined) continue;
      results.push(result);
      given.onGroup(result);
    }
  } finally {
    await stage.down();
  }
  return results;
}
