import type { Ended } from './tally.js';

export interface Options {
  /** Exhaustive; otherwise a sample that fits into `npm test`. */
  readonly long: boolean;
  readonly seed: number;
  /** When to begin no further case, in performance.now(). */
  readonly deadline: number;
  /** Told of each case as it ends. */
  readonly onCase?: (ended: Ended) => void;
}
