import type { KilnClient } from "@kiln/sdk/client.ts";
import { KilnError } from "@kiln/sdk/errors.ts";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import type { SandboxInfo, Stats } from "@kiln/sdk/types.ts";
import { formatBytes, formatSpan } from "../output/table.ts";

export interface Measured {
  info: SandboxInfo;
  stats: Stats;
  /** When it was measured, `performance.now()`. */
  at: number;
}

/** What the sandboxes named use, or all that run. Those that go away meanwhile are left out of all. */
export async function measureAll(
  client: KilnClient,
  ids: readonly string[],
  signal?: AbortSignal,
): Promise<Measured[]> {
  const sandboxes: Sandbox[] = [];
  if (ids.length > 0) sandboxes.push(...(await Promise.all(ids.map((id) => client.get(id, { signal })))));
  else for await (const sandbox of client.list({ state: "running", signal })) sandboxes.push(sandbox);
  const measure = async (sandbox: Sandbox): Promise<Measured[]> => {
    try {
      const stats = await sandbox.stats({ signal });
      return [{ info: sandbox.info, stats, at: performance.now() }];
    } catch (error) {
      if (ids.length === 0 && error instanceof KilnError && /^SANDBOX_/.test(error.code)) return [];
      throw error;
    }
  };
  return (await Promise.all(sandboxes.map(measure))).flat();
}

export const STATS_HEADINGS = [
  "id",
  "template",
  "cpu time",
  "memory",
  "disk",
  "guest memory",
  "processes",
] as const;

export function statsRow({ info, stats }: Measured): string[] {
  const used = stats.guestMemoryTotalBytes - stats.guestMemoryAvailableBytes;
  return [
    info.id,
    info.template,
    formatSpan(stats.cpuMs),
    formatBytes(stats.memoryBytes),
    formatBytes(stats.diskBytes),
    `${formatBytes(used)} / ${formatBytes(stats.guestMemoryTotalBytes)}`,
    String(stats.processes),
  ];
}

/** Processor use between two measurements, in per cent of one CPU; undefined for a sandbox that is new. */
export function cpuPercent(now: Measured, before: Measured | undefined): number | undefined {
  if (before === undefined || now.at <= before.at) return undefined;
  return Math.max(0, ((now.stats.cpuMs - before.stats.cpuMs) / (now.at - before.at)) * 100);
}
