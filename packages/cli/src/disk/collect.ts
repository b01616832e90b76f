import type { CollectOptions } from "@kiln/sdk/disk.ts";
import type { CollectedPart } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { formatBytes, printJson, printTable } from "../output/table.ts";

/** Build steps have no names of their own: there may be hundreds, and they are one line. */
const STEP = /^step [0-9a-f]{12}$/;

/** Removes what nothing needs, and says what that was. */
export async function collect(options: CollectOptions, json: boolean): Promise<void> {
  const collected = await openClient().disk.collect(options);
  if (json) {
    printJson(collected);
    return;
  }
  const { removed, removedBytes, kept, skipped, dryRun } = collected;
  if (removed.length > 0) {
    printTable(
      [dryRun ? "would remove" : "removed", "name", "size", "why"],
      withStepsInOne(removed).map(({ kind, name, bytes, reason }) => [
        kind,
        name,
        formatBytes(bytes),
        reason,
      ]),
    );
  }
  for (const what of skipped) process.stdout.write(`not looked at: ${what}\n`);
  const verb = dryRun ? "to be removed" : "removed";
  process.stdout.write(
    `${removed.length} ${verb}, about ${formatBytes(removedBytes)}; ${kept.length} kept (--json says why)\n`,
  );
}

function withStepsInOne(parts: readonly CollectedPart[]): CollectedPart[] {
  const steps = parts.filter(({ name }) => STEP.test(name));
  const [first] = steps;
  const others = parts.filter(({ name }) => !STEP.test(name));
  if (first === undefined) return others;
  const bytes = steps.reduce((sum, step) => sum + step.bytes, 0);
  return [...others, { ...first, name: `${steps.length} build steps`, bytes }];
}
