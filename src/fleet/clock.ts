/** Time as a rollout needs it; its tests bring their own. */
export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Milliseconds since 1970, for comparing with the nodes' own. */
  wallMs(): number;
  sleep(ms: number): Promise<void>;
}

export const realClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/** Asks again and again until `isGood` or the time is over. @returns the last answer, good or not */
export async function until<T>(
  clock: Clock,
  given: { readonly timeoutMs: number; readonly everyMs: number },
  ask: () => Promise<T>,
  isGood: (answer: T) => boolean,
): Promise<{ readonly answer: T; readonly isGood: boolean }> {
  const endMs = clock.now() + given.timeoutMs;
  for (;;) {
    const answer = await ask();
    if (isGood(answer)) return { answer, isGood: true };
    if (clock.now() >= endMs) return { answer, isGood: false };
    await clock.sleep(given.everyMs);
  }
}
