import { readdir } from "node:fs/promises";
import { firecrackerFolders } from "../find.ts";
import { isFree, listSlots } from "./list-slots.ts";
import { NODES } from "./slots.ts";

/** The slots that were attached for VMs which do not run: not any more, or not yet. */
export async function leftSlots(): Promise<{ number: number; directory: string }[]> {
  // In this order: a VM that starts meanwhile has its slot before its process.
  const slots = await listSlots();
  const running = await firecrackerFolders();
  return slots.flatMap(({ number, directory, pid }) =>
    directory !== undefined && pid !== undefined && !running.has(directory) ? [{ number, directory }] : [],
  );
}

/** The device nodes of slots that nobody has: of a helper that was killed. */
export async function leftNodes(): Promise<string[]> {
  const names = await readdir(NODES).catch(() => []);
  if (names.length === 0) return [];
  const free = new Set((await listSlots()).filter(isFree).map(({ number }) => `nbd${number}`));
  return names.filter((name) => free.has(name));
}
