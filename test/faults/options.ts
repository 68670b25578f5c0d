import type { Ended } from './tally.js';

export interface Options {
  /** Exhaustive; otherwise a sample that fits into `npm test`. */
  readonly long: boolean;
  readonly seed: number;
  /** When to begin no further case, in performance.now(). */
  readonly deadline: number;
  /** Of the cases on a node, one in so many, from this one on: parts of one seed are the whole together. */
  readonly part?: Part;
  /** So many of them, in the order that the seed draws, were run already. */
  readonly done?: number;
  /** Told of each case as it ends. */
  readonly onCase?: (ended: Ended) => void;
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
 * Of each group how many cases an earlier run of the same seed has done.
 * @throws Error for other words than "kills=300,pairs=20", and for other groups
 */
export function parseDone(text: string, groups: readonly string[]): ReadonlyMap<string, number> {
  return new Map(
    text.split(',').map((word) => {
      const [, group = '', many = ''] = /^([a-z-]+)=(\d+)$/.exec(word) ?? [];
      if (!groups.includes(group))
        throw new Error(`"${word}" is not GROUP=NUMBER; groups that go on: ${groups.join(', ')}`);
      return [group, Number(many)];
    }),
  );
}
