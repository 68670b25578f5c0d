/** Does the work for each entry, so many at a time; results are in the entries' order. */
export async function inParallel<T, R>(
  entries: readonly T[],
  limit: number,
  work: (entry: T) => Promise<R>,
): Promise<R[]> {
  const results = new Map<number, R>();
  const waiting = entries.entries();
  const worker = async (): Promise<void> => {
    for (const [index, entry] of waiting) results.set(index, await work(entry));
  };
  await Promise.all(Array.from({ length: Math.min(limit, entries.length) }, worker));
  return entries.map((_entry, index) => results.get(index) as R);
}
