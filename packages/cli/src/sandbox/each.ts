import { KilnError } from "@kiln/sdk/errors.ts";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import { openClient } from "../client.ts";
import { printJson } from "../output/table.ts";

export interface EachRequest {
  /** Ids or their beginnings. */
  ids: readonly string[];
  json: boolean;
  /** Takes them out of the store first. */
  fromStore?: boolean;
}

/** Does something to sandboxes one after the other, and prints the id of each when it is done. */
export async function forEachSandbox(
  { ids, json, fromStore = false }: EachRequest,
  work: (sandbox: Sandbox) => Promise<unknown>,
): Promise<void> {
  if (ids.length === 0) throw new KilnError("USAGE", "no sandbox is named", { hint: "kiln ls lists them" });
  const client = openClient();
  const infos = [];
  for (const id of ids) {
    const sandbox = await (fromStore ? client.pullSandbox(id) : client.get(id));
    await work(sandbox);
    infos.push(sandbox.info);
    if (!json) process.stdout.write(`${sandbox.id}\n`);
  }
  if (json) printJson(infos);
}
