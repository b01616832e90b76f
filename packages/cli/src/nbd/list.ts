import { basename, dirname } from "node:path";
import { leftSlots } from "@kiln/host/vmm/firecracker/nbd/left-slots.ts";
import { isFree, listSlots, type SlotState } from "@kiln/host/vmm/firecracker/nbd/list-slots.ts";
import { checkNbdModule } from "@kiln/host/vmm/firecracker/nbd/module.ts";
import { formatBytes, printJson, printTable } from "../output/table.ts";

/** Prints every NBD device of this host with who has it. */
export async function list(json: boolean): Promise<void> {
  await checkNbdModule();
  const left = new Set((await leftSlots()).map(({ number }) => number));
  const slots = await listSlots();
  const stateOf = (slot: SlotState) => {
    if (isFree(slot)) return "free";
    if (slot.directory === undefined) return "not Kiln's";
    return left.has(slot.number) ? "left" : "in use";
  };
  if (json) {
    printJson(slots.map((slot) => ({ ...slot, state: stateOf(slot) })));
    return;
  }
  printTable(
    ["device", "state", "size", "sandbox", "folder"],
    slots.map((slot) => [
      `/dev/nbd${slot.number}`,
      stateOf(slot),
      slot.sizeBytes === 0 ? "" : formatBytes(slot.sizeBytes),
      slot.directory === undefined ? "" : sandboxOf(slot.directory),
      slot.directory ?? "",
    ]),
  );
}

/** The sandbox of a VM's folder; none for one that only makes a template's snapshot. */
function sandboxOf(directory: string): string {
  if (basename(directory) === "vm") return basename(dirname(directory));
  return basename(directory).startsWith("boot-") ? "" : basename(directory);
}
