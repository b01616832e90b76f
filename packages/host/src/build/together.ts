/**
 * Runs `tasks` at the same time. The first failure cancels the others; it is thrown once all of them have ended, so
 * that nothing they own outlives the call.
 */
export async function together<A, B>(
  signal: AbortSignal | undefined,
  first: (signal: AbortSignal) => Promise<A>,
  second: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const failure = new AbortController();
  const linked = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  let cause: { error: unknown } | undefined;
  const guard = async <T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      return await task(linked);
    } catch (error) {
      cause ??= { error };
      failure.abort();
      throw error;
    }
  };
  const [a, b] = await Promise.allSettled([guard(first), guard(second)]);
  if (a.status === "fulfilled" && b.status === "fulfilled") return [a.value, b.value];
  throw cause?.error;
}
