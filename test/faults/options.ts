import type { Ended } from './tally.js';

export interface Options {
  /** Exhaustive; otherwise a sample that fits into `npm test`. */
  readonly long: boolean;
  readonly seed: number;
  /** When to begin no further case, in performance.now(). */
  readonly deadline: number;
  /** Of the cases on a node, one in so many, from this one on: parts of one seed are the whole together. */
  readonly part?: Part;
  /** Of them, in the order that the seed draws, those that were run already. */
  readonly done?: Done;
  /** Told of each case as it ends. */
  readonly onCase?: (ended: Ended) => void;
}

/** What an earlier run of the same seed did of a group. */
export interface Done {
  readonly cases: number;
  /** Planned then: with another number of calls the seed draws another order. */
  readonly of: number;
}

export interface Part {
  /** The first is 1. */
  readonly number: number;
  readonly of: number;
}

/** @throws Error for other words than "1/3" */
export function parsePart(text: string): Part {
  const [, number = '', of = ''] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text) ?? [];
  if (!(Number(number) <= Number(of)) || of === '')
    throw new Error(`"${text}" is no part: NUMBER/OF, such as 1/3`);
  return { number: Number(number), of: Number(of) };
}

export const partOf = <T>(all: readonly T[], part: Part = { number: 1, of: 1 }): T[] =>
  all.filter((_, index) => index % part.of === part.number - 1);

/**
 * Of each group what an earlier run of the same seed has done.
 * @throws Error for other words than "kills=300/558,pairs=20/650", and for other groups
 */
export function parseDone(text: string, groups: readonly string[]): ReadonlyMap<string, Done> {
  return new Map(
    text.split(',').map((word) => {
      const [, group = '', cases, of] = /^([a-z-]+)=(\d+)\/(\d+)$/.exec(word) ?? [];
      if (!groups.includes(group))
        throw new Error(
          `"${word}" is not GROUP=CASES/PLANNED, as that run printed them; groups that go on: ${groups.join(', ')}`,
        );
      return [group, { cases: Number(cases), of: Number(of) }];
    }),
  );
}

/** @throws Error where the run that did them was about other cases */
export function undone<T>(all: readonly T[], { cases, of }: Done = { cases: 0, of: all.length }): T[] {
  if (of !== all.length)
    throw new Error(
      `${String(of)} cases were planned in the run that is gone on with, and ${String(all.length)} are now: the seed draws another order, so that nothing says which of them were done`,
    );
  return all.slice(cases);
}
