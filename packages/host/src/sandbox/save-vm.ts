import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { GuestAgent } from "../guest/agent.ts";
import type { KilnHome } from "../home.ts";
import type { LiveVm } from "./live-vm.ts";
import { newSaved } from "./storage.ts";

/** How long a guest may take to stand still before it is stopped where it is, in milliseconds. */
const FREEZE_PATIENCE_MS = 5_000;
const HANDSHAKE_TIMEOUT_MS = 60_000;

/** Memory and device state of a guest, for others to go on from. */
export interface SavedVm {
  /** Folder with `memory` and `state`; its name below KILN_HOME. */
  folder: string;
  /** The agent's generation in there. */
  generation: number;
}

/**
 * Makes the guest stand still and writes its memory and state; the VM is stopped at the end of it, and still there. When it
 * fails the VM runs on and nothing is left.
 */
export async function saveVm(home: KilnHome, live: LiveVm): Promise<SavedVm> {
  const folder = newSaved();
  const path = join(home.root, folder);
  await mkdir(path, { recursive: true, mode: 0o700 });
  try {
    await freeze(live.agent);
    await live.vm.pause();
    await live.vm.save({ memory: join(path, "memory"), state: join(path, "state") });
    return { folder, generation: live.agent.generation };
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    await goOn(live);
    throw error;
  }
}

/** Lets a VM that was saved run on. */
export async function goOn(live: LiveVm): Promise<void> {
  await live.vm.resume();
  await live.agent.handshake({ generation: live.agent.generation + 1, timeoutMs: HANDSHAKE_TIMEOUT_MS });
}

/** Asks the agent to stand still. One that does not is stopped in the middle of its words: the protocol copes with that. */
async function freeze(agent: GuestAgent): Promise<void> {
  const patience = Promise.withResolvers<void>();
  const timer = setTimeout(patience.resolve, FREEZE_PATIENCE_MS);
  try {
    await Promise.race([agent.freeze(), patience.promise]);
  } finally {
    clearTimeout(timer);
  }
}
