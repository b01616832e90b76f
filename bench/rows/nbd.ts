import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { measureNbd } from "../nbd/measure.ts";
import type { Row } from "./row.ts";

export const nbd: Row = {
  name: "nbd",
  summary: "the block server beside nbdkit's cow filter and qemu-nbd on qcow2: fio patterns, in turn",
  defaultRuns: 5,
  async measure(context, runs) {
    const folder = join(await context.folder(), "nbd");
    await mkdir(folder);
    return measureNbd({ folder, runs, signal: context.signal });
  },
};
