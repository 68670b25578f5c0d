import { archiveGroup, bitGroup, sampledGroup, sizeGroup } from './damage.js';
import { killGroup, momentGroup, pairGroup } from './kills.js';
import { clockGroup, diskGroup, raceGroup, stepGroup } from './mishaps.js';
import type { Options } from './options.js';
import { propertyGroup } from './properties.js';
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

/** These need no node. */
const IN_PROCESS: Readonly<Record<string, (options: Options) => Promise<GroupResult>>> = {
  bits: bitGroup,
  sampled: sampledGroup,
  archives: archiveGroup,
  sizes: sizeGroup,
  properties: propertyGroup,
};

export const GROUPS: readonly string[] = [...Object.keys(ON_NODE), ...Object.keys(IN_PROCESS)];

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
  const wanted = GROUPS.filter((name) => given.groups.includes(name));
  const onNode = wanted.some((name) => name in ON_NODE);
  const stage = onNode ? await raise(given.nodes) : undefined;
  try {
    for (const [index, name] of wanted.entries()) {
      // Each group gets its share of what time is left, so that none is left out.
      const left = given.deadline - performance.now();
      const deadline = performance.now() + left / (wanted.length - index);
      const options = { long: given.long, seed: given.seed, deadline };
      const work = stage === undefined ? undefined : ON_NODE[name]?.(stage, options);
      const result = await (work ?? IN_PROCESS[name]?.(options));
      if (result === undefined) continue;
      results.push(result);
      given.onGroup(result);
    }
  } finally {
    await stage?.down();
  }
  return results;
}
