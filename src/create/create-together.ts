/**
 * Runs the tasks side by side. The first failure aborts the others; all have ended, and cleaned up
 * after themselves, before it is thrown.
 */
export async function allOrAbort<const T extends readonly ((signal: AbortSignal) => Promise<unknown>)[]>(
  signal: AbortSignal | undefined,
  tasks: T,
): Promise<{ -readonly [K in keyof T]: Awaited<ReturnType<T[K]>> }> {
  const stop = new AbortController();
  const forward = (): void => {
    stop.abort(signal?.reason);
  };
  if (signal?.aborted === true) forward();
  signal?.addEventListener('abort', forward, { once: true });
  let first: { readonly error: unknown } | undefined;
  try {
    const results = await Promise.all(
      tasks.map(async (task) => {
        try {
          stop.signal.throwIfAborted();
          return await task(stop.signal);
        } catch (error) {
          first ??= { error };
          stop.abort(new Error('stopped, because another part failed'));
          return undefined;
        }
      }),
    );
    if (first !== undefined) throw first.error;
    return results as { -readonly [K in keyof T]: Awaited<ReturnType<T[K]>> };
  } finally {
    signal?.removeEventListener('abort', forward);
  }
}
