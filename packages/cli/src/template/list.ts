import type { Template } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { printJson, printTable } from "../output/table.ts";

const stateOf = ({ built, problem }: Template): string =>
  problem === undefined ? (built ? "built" : "not built") : `broken: ${problem}`;

export async function list(json: boolean): Promise<void> {
  const templates = await openClient().templates.list();
  if (json) {
    printJson(templates);
    return;
  }
  printTable(
    ["name", "source", "vcpu", "memory", "state"],
    templates.map((template) => [
      template.name,
      template.source,
      template.vcpu === undefined ? "" : String(template.vcpu),
      template.memoryMib === undefined ? "" : `${template.memoryMib} MiB`,
      stateOf(template),
    ]),
  );
}
