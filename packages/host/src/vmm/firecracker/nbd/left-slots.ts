import { firecrackerFolders } from "../find.ts";
import { listSlots } from "./list-slots.ts";

/** The slots that were attached for VMs which do not run: not any more, or not yet. */
export async function leftSlots(): Promise<{ number: number; directory: string }[]> {
  // In this order: a VM that starts meanwhile has its slot before its process.
  const slots = await listSlots();
  const running = await firecrackerFolders();
  return slots.flatMap(({ number, directory, pid }) =>
    directory !== undefined && pid !== undefined && !running.has(directory) ? [{ number, directory }] : [],
  );
}
