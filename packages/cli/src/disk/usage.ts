import type { DiskEntry } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { formatBytes, printJson, printTable } from "../output/table.ts";

const KINDS: readonly DiskEntry["kind"][] = ["template", "snapshot", "sandbox", "cache"];

/** Prints what takes how much of the disk, the largest of each kind first. */
export async function showUsage(json: boolean): Promise<void> {
  const usage = await openClient().disk.usage();
  if (json) {
    printJson(usage);
    return;
  }
  const size = ({ ownBytes, sharedBytes }: DiskEntry) => ownBytes + sharedBytes;
  const ordered = usage.entries.toSorted(
    (a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || size(b) - size(a),
  );
  printTable(
    ["kind", "name", "own", "shared"],
    [
      ...ordered.map(({ kind, name, ownBytes, sharedBytes }) => [
        kind,
        name,
        formatBytes(ownBytes),
        sharedBytes === 0 ? "" : formatBytes(sharedBytes),
      ]),
      ["", "shared, counted once", formatBytes(usage.sharedBytes)],
      ["", "total", formatBytes(usage.totalBytes)],
      ["", "free", formatBytes(usage.freeBytes)],
    ],
  );
}
