/**
 * Runs `task` for each of `items`, at most `atOnce` at a time. The first failure cancels the others; it is thrown once all of them have
 * ended, so that nothing they use (a file descriptor, a folder) is taken away from under them.
 * @returns the results, in the order of `items`.
 */
export async function inParallel<T, R>(
  items: Iterable<T>,
  task: (item: T, signal: AbortSignal) => Promise<R>,
  options: { atOnce?: number | undefined; signal?: AbortSignal | undefined } = {},
): Promise<R[]> {
  const failure = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal;
  const all = [...items]; // Once: an iterator has nothing the second time.
  const left = all.entries();
  const results: R[] = [];
  let cause: { error: unknown } | undefined;
  const worker = async () => {
    for (const [index, item] of left) {
      if (cause) return;
      try {
        results[index] = await task(item, signal);
      } catch (error) {
        cause ??= { error };
        failure.abort(error);
      }
    }
  };
  const workers = Math.min(options.atOnce ?? Number.POSITIVE_INFINITY, all.length);
  await Promise.all(Array.from({ length: workers }, worker));
  if (cause) throw cause.error;
  return results;
}
