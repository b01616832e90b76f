import { ensureWhole } from "../lazy/ensure-whole.ts";
import { LazyFile } from "../lazy/lazy-file.ts";
import { MemoryClient } from "../lazy/memory/memory-client.ts";
import type { SnapshotFiles } from "../vmm/vmm.ts";

/**
 * The files of a snapshot as a VM can use them. Memory that has not arrived as a whole is mapped by another name, where what is missing is
 * fetched when the guest touches it; where the host allows no such thing, this waits for the rest of it.
 * @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`.
 */
export async function usableFiles(files: SnapshotFiles): Promise<SnapshotFiles> {
  const lazy = LazyFile.open(files.memory);
  if (lazy === undefined) return files;
  const { home } = lazy;
  lazy[Symbol.dispose]();
  using client = new MemoryClient(home);
  const memory = await client.show(files.memory);
  if (memory !== undefined) return { ...files, memory, onDemand: true };
  await ensureWhole([files.memory]);
  return files;
}
