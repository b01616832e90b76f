import { FetchClient } from "./fetch-client.ts";
import { LazyFile } from "./lazy-file.ts";

/** Waits until files have arrived as a whole. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
export async function ensureWhole(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const lazy = LazyFile.open(path);
    if (lazy === undefined) continue;
    const { home } = lazy;
    lazy[Symbol.dispose]();
    using client = new FetchClient(home);
    await client.complete(path);
  }
}
