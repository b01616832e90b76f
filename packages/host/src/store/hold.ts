import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";

/** A hold that was not renewed for so long belongs to a node that is gone, in milliseconds. Nodes renew theirs every 6 h. */
export const HOLD_LIFE_MS = 7 * 24 * 3600_000;

/** Says that a node is fetching an image, though nothing in the store may refer to it any more: its packs are kept. */
export async function renewHold(store: ObjectStore, image: string, node: string): Promise<void> {
  await store.put(keys.hold(image, node), Buffer.from("{}\n"));
}

export async function endHold(store: ObjectStore, image: string, node: string): Promise<void> {
  await store.delete(keys.hold(image, node)).catch(() => undefined); // It ends by itself.
}

/** The name of this node in stores: random, and kept. */
export async function nodeName(home: KilnHome): Promise<string> {
  const path = join(home.root, "node-name");
  const known = await readFile(path, "utf8").catch(() => "");
  if (/^[0-9a-f]{24}\n$/.test(known)) return known.trim();
  const name = randomBytes(12).toString("hex");
  await writeFileAtomic(path, `${name}\n`);
  return name;
}
