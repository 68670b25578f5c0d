import { setTimeout as pause } from 'node:timers/promises';
import { BundleError } from '../errors.js';

/** How long a lost node is tried again. */
export interface Patience {
  /** Since it was last heard of. */
  readonly totalMs: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const PATIENCE: Patience = { totalMs: 15 * 60_000, firstPauseMs: 500, longestPauseMs: 15_000 };

export function isLost(error: unknown): boolean {
  return (
    error instanceof BundleError && (error.code === 'CONNECTION_LOST' || error.code === 'NODE_UNREACHABLE')
  );
}

/**
 * Does it again after a lost connection, with longer and longer pauses. Work that tells that it got further
 * (`heard`) starts the count anew. @throws what `work` threw last
 */
export async function throughLosses<T>(
  patience: Patience,
  work: (heard: () => void) => Promise<T>,
  onLost: (error: BundleError) => void,
): Promise<T> {
  let heardMs = performance.now();
  let pauseMs = patience.firstPauseMs;
  const heard = (): void => {
    heardMs = performance.now();
    pauseMs = patience.firstPauseMs;
  };
  for (;;) {
    try {
      return await work(heard);
    } catch (error) {
      if (!(error instanceof BundleError) || !isLost(error)) throw error;
      if (performance.now() - heardMs > patience.totalMs) throw error;
      onLost(error);
      await pause(pauseMs);
      pauseMs = Math.min(pauseMs * 2, patience.longestPauseMs);
    }
  }
}
