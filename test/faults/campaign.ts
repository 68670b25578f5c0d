import { archiveGroup, bitGroup, sizeGroup } from './damage.js';
import type { Broken } from './broken.js';
import { givenGroup, killGroup, momentGroup, pairGroup } from './kills.js';
import { clockGroup, diskGroup, raceGroup, stepGroup } from './mishaps.js';
import type { Done, Options, Part } from './options.js';
import { propertyGroup } from './properties.js';
import { realGroup } from './real.js';
import { sampledGroup } from './sampled.js';
import type { Stage } from './stage.js';
import { raise } from './stage.js';
import type { Ended, GroupResult } from './tally.js';

/** A part of the campaign; those on a node share the miniature's nodes. */
type OnNode = (stage: Stage, options: Options) => Promise<GroupResult>;

/** The short ones first: what time they leave is the others'. */
const ON_NODE: Readonly<Record<string, OnNode>> = {
  steps: stepGroup,
  clock: clockGroup,
  racers: raceGroup,
  disks: diskGroup,
  moments: momentGroup,
  'undo-kills': (stage, options) => killGroup(stage, 'undo-kills', options),
  'kills-next': (stage, options) => killGroup(stage, 'kills-next', options),
  kills: (stage, options) => killGroup(stage, 'kills', options),
  pairs: pairGroup,
  'kills-back': (stage, options) => killGroup(stage, 'kills-back', options),
};

/** Shares of a limited time, about as the long form's cases take it; 1 where nothing is said. */
const WEIGHTS: Readonly<Record<string, number>> = {
  clock: 0.3,
  racers: 0.7,
  disks: 2,
  moments: 0.5,
  'undo-kills': 2,
  'kills-back': 5.3,
  'kills-next': 2.3,
  kills: 3,
  pairs: 5,
  bits: 2,
  sampled: 8,
  archives: 0.1,
  sizes: 0.3,
  properties: 2,
};

/** These need no node. */
const IN_PROCESS: Readonly<Record<string, (options: Options) => Promise<GroupResult>>> = {
  bits: bitGroup,
  sampled: sampledGroup,
  archives: archiveGroup,
  sizes: sizeGroup,
  properties: propertyGroup,
};

/** These have nodes of their own. */
const ON_ITS_OWN: Readonly<Record<string, (options: Options) => Promise<GroupResult>>> = { real: realGroup };

const namesOf = (...groups: readonly Readonly<Record<string, unknown>>[]): string[] =>
  groups.flatMap((all) => Object.keys(all));

export const GROUPS: readonly string[] = namesOf(ON_NODE, IN_PROCESS, ON_ITS_OWN);
/** A case of the others takes minutes. */
export const SHORT_GROUPS: readonly string[] = namesOf(ON_NODE, IN_PROCESS);

/** Of these a run can go on where another one of the same seed ended. */
export const GOES_ON: readonly string[] = ['undo-kills', 'kills-back', 'kills-next', 'kills', 'pairs'];

export interface Campaign {
  readonly long: boolean;
  readonly seed: number;
  readonly part?: Part;
  readonly done?: ReadonlyMap<string, Done>;
  readonly groups: readonly string[];
  readonly nodes: number;
  /** When to begin no further case, in milliseconds after the nodes are up. */
  readonly budgetMs: number;
  readonly onGroup: (result: GroupResult) => void;
  readonly onCase?: (ended: Ended) => void;
}

/** Cases that were typed, and nothing else. */
export async function again(
  cases: readonly Broken[],
  given: Omit<Campaign, 'long' | 'groups' | 'budgetMs' | 'part' | 'done'>,
): Promise<GroupResult[]> {
  const stage = await raise(given.nodes);
  try {
    const result = await givenGroup(stage, cases, { ...given, long: true, deadline: Infinity });
    given.onGroup(result);
    return [result];
  } finally {
    await stage.down();
  }
}

export async function campaign(given: Campaign): Promise<GroupResult[]> {
  const results: GroupResult[] = [];
  let end = performance.now() + given.budgetMs;
  /** One group after the other, each with its share of what time is left. */
  const chain = async (
    names: readonly string[],
    run: (name: string, options: Options) => Promise<GroupResult> | undefined,
  ): Promise<void> => {
    const weightOf = (name: string): number => WEIGHTS[name] ?? 1;
    for (const [index, name] of names.entries()) {
      const waiting = names.slice(index).reduce((sum, one) => sum + weightOf(one), 0);
      const left = end - performance.now();
      const deadline = performance.now() + (left * weightOf(name)) / waiting;
      const { done: all, ...rest } = given;
      const done = all?.get(name);
      const ended = await run(name, { ...rest, deadline, ...(done === undefined ? {} : { done }) });
      if (ended === undefined) continue;
      const result = { ...ended, name };
      results.push(result);
      given.onGroup(result);
    }
  };
  const wanted = (all: Readonly<Record<string, unknown>>): string[] =>
    Object.keys(all).filter((name) => given.groups.includes(name));
  const onNode = wanted(ON_NODE);
  const onNodes = async (): Promise<void> => {
    const stage = onNode.length > 0 ? await raise(given.nodes) : undefined;
    try {
      end = performance.now() + given.budgetMs;
      await Promise.all([
        chain(onNode, (name, options) => (stage === undefined ? undefined : ON_NODE[name]?.(stage, options))),
        chain(wanted(IN_PROCESS), (name, options) => IN_PROCESS[name]?.(options)),
      ]);
    } finally {
      await stage?.down();
    }
  };
  // The long ones begin while the others' nodes are made ready, which is mostly waiting.
  await Promise.all([chain(wanted(ON_ITS_OWN), (name, options) => ON_ITS_OWN[name]?.(options)), onNodes()]);
  return results;
}
