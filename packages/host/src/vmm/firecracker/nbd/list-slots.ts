import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../../../errors.ts";

const DEVICES = "/sys/block";
const SECTOR_BYTES = 512;

/** A slot as the kernel shows it. */
export interface SlotState {
  number: number;
  /** Folder of the VM it was attached for, as whoever attached it said; none for a slot of another program, or one that is free. */
  directory: string | undefined;
  /** Process that attached it, while it is connected: it may have ended since. */
  pid: number | undefined;
  sizeBytes: number;
  /** Requests under way. */
  inflight: number;
  /** Devices made of it. */
  holders: string[];
}

/** Every slot there is; none without the nbd module. */
export async function listSlots(): Promise<SlotState[]> {
  const names = (await readdir(DEVICES)).filter((name) => /^nbd\d+$/.test(name));
  const slots = await Promise.all(names.map(readSlot));
  return slots.sort((one, other) => one.number - other.number);
}

/** Whether nobody serves the slot and nobody uses what was on it. */
export const isFree = ({ pid, sizeBytes, inflight, holders }: SlotState): boolean =>
  pid === undefined && sizeBytes === 0 && inflight === 0 && holders.length === 0;

async function readSlot(name: string): Promise<SlotState> {
  const read = async (file: string) => {
    try {
      return (await readFile(join(DEVICES, name, file), "utf8")).trim();
    } catch (error) {
      // These come and go with the connection.
      if (systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "ENODEV") return undefined;
      throw error;
    }
  };
  const [pid, size, inflight, backend, holders] = await Promise.all([
    read("pid"),
    read("size"),
    read("inflight"),
    read("backend"),
    readdir(join(DEVICES, name, "holders")),
  ]);
  return {
    number: Number(name.slice("nbd".length)),
    directory: backend?.startsWith("/") ? backend : undefined,
    pid: pid === undefined ? undefined : Number(pid),
    sizeBytes: Number(size ?? 0) * SECTOR_BYTES,
    inflight: (inflight ?? "").split(/\s+/).reduce((sum, count) => sum + Number(count), 0),
    holders,
  };
}
