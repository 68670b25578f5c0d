const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(1);

/** One plain line on stderr. */
export const say = (text: string): void => {
  process.stderr.write(`lab: ${text}\n`);
};

/** Runs `work`, saying before what is done and after how long it took. Errors pass through. */
export const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  const startMs = performance.now();
  say(`${what} …`);
  const result = await work();
  say(`${what}: ${seconds(startMs)} s`);
  return result;
};
