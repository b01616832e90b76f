import { stat } from "node:fs/promises";
import { KilnError } from "@kiln/host/errors.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { findBuilt } from "@kiln/host/sandbox/built-template.ts";
import { listTemplates, resolveTemplate, type TemplateEntry } from "@kiln/host/template/templates.ts";
import { formatBytes, printJson, printTable } from "../output/table.ts";

interface Row {
  name: string;
  source: TemplateEntry["source"];
  /** `broken` when its spec does not parse. */
  state: "built" | "not built" | "broken";
  vcpu?: number;
  memoryMib?: number;
  /** Bytes the root file system takes on the disk. */
  rootfsBytes?: number;
  snapshots?: number;
  problem?: string;
}

async function describe(home: KilnHome, entry: TemplateEntry): Promise<Row> {
  const { name, source } = entry;
  try {
    const spec = await resolveTemplate(home, name);
    const built = await findBuilt(home, spec);
    const size = { vcpu: spec.vcpu, memoryMib: spec.memory_mib };
    if (!built) return { name, source, state: "not built", ...size };
    const rootfsBytes = (await stat(built.rootfs.path)).blocks * 512;
    return { name, source, state: "built", ...size, rootfsBytes, snapshots: built.snapshots.length };
  } catch (error) {
    if (!(error instanceof KilnError)) throw error;
    return { name, source, state: "broken", problem: error.message };
  }
}

export async function list(json: boolean): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const rows = await Promise.all((await listTemplates(home)).map((entry) => describe(home, entry)));
  if (json) {
    printJson(rows);
    return;
  }
  printTable(
    ["name", "source", "vcpu", "memory", "state", "rootfs", "snapshots"],
    rows.map((row) => [
      row.name,
      row.source,
      row.vcpu === undefined ? "" : String(row.vcpu),
      row.memoryMib === undefined ? "" : `${row.memoryMib} MiB`,
      row.state,
      row.rootfsBytes === undefined ? "" : formatBytes(row.rootfsBytes),
      row.snapshots === undefined ? "" : String(row.snapshots),
    ]),
  );
}
