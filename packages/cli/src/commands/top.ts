import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { duration, wholeNumber } from "../options.ts";
import { formatTable } from "../output/table.ts";
import { cpuPercent, type Measured, measureAll, STATS_HEADINGS, statsRow } from "../sandbox/usage.ts";
import { Signals } from "../signals.ts";

const HOME_AND_CLEAR = "\x1b[H\x1b[J";

interface TopFlags {
  interval: number;
  count?: number;
}

export function addTop(program: Command): void {
  program
    .command("top")
    .summary("what sandboxes use, live")
    .description(
      "Show what running sandboxes use, the busiest first, again and again until Ctrl-C. Where the output is no terminal, tables follow " +
        "one another.",
    )
    .option("--interval <duration>", "time between two looks", duration, 2_000)
    .option("-n, --count <n>", "end after so many looks", wholeNumber(1, 1_000_000))
    .addHelpText(
      "after",
      "\nExamples:\n  kiln top\n  kiln top -n 1\n  kiln top --interval 10s -n 6 >usage.txt",
    )
    .action(async ({ interval, count = Number.POSITIVE_INFINITY }: TopFlags) => {
      const { cancelled } = new Signals();
      const client = openClient();
      let before = new Map<string, Measured>();
      // One look before the first: use is a difference.
      const keep = (measured: Measured[]) => {
        before = new Map(measured.map((entry) => [entry.info.id, entry]));
      };
      try {
        keep(await measureAll(client, [], cancelled));
        for (let look = 0; look < count && !cancelled.aborted; look++) {
          await delay(look === 0 ? Math.min(interval, 500) : interval, undefined, { signal: cancelled });
          const measured = await measureAll(client, [], cancelled);
          const rows = measured
            .map((entry) => ({ entry, cpu: cpuPercent(entry, before.get(entry.info.id)) }))
            .sort((a, b) => (b.cpu ?? 0) - (a.cpu ?? 0))
            .map(({ entry, cpu }) => [...statsRow(entry), cpu === undefined ? "" : `${cpu.toFixed(1)} %`]);
          const table = formatTable([...STATS_HEADINGS, "cpu"], rows);
          process.stdout.write(
            process.stdout.isTTY ? `${HOME_AND_CLEAR}${table}` : `${look === 0 ? "" : "\n"}${table}`,
          );
          keep(measured);
        }
      } catch (error) {
        if (!cancelled.aborted) throw error; // Ctrl-C is how it ends.
      }
    });
}
