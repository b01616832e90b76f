import { collectGarbage } from "../../disk/collect.ts";
import { measureUsage } from "../../disk/usage.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errors } from "../responses.ts";
import { Collected, CollectGarbage, DiskUsage } from "../schemas/disk.ts";

export function addDiskRoutes(app: App, { home, sandboxes, builds, log }: DaemonContext): void {
  const tags = ["disk"];
  app.get(
    "/v1/disk",
    { schema: { tags, summary: "What takes how much of the disk", response: { 200: DiskUsage, ...errors } } },
    async () => {
      const { totalBytes, sharedBytes, freeBytes, entries } = await measureUsage(home, sandboxes.records);
      return {
        total_bytes: totalBytes,
        shared_bytes: sharedBytes,
        free_bytes: freeBytes,
        entries: entries.map(({ ownBytes, sharedBytes: shared, ...entry }) => ({
          ...entry,
          own_bytes: ownBytes,
          shared_bytes: shared,
        })),
      };
    },
  );
  app.post(
    "/v1/gc",
    {
      schema: {
        tags,
        summary: "Remove what nothing needs",
        body: CollectGarbage.nullish(),
        response: { 200: Collected, ...errors },
      },
    },
    async ({ body }) => {
      const { dry_run: dryRun = false, keep = 0, older_than_s: seconds } = body ?? {};
      const { removed, kept, skipped } = await collectGarbage({
        home,
        holdings: sandboxes.holdings,
        builds,
        dryRun,
        keep,
        olderThanMs: seconds === undefined ? undefined : seconds * 1000,
      });
      const bytes = removed.reduce((sum, part) => sum + part.bytes, 0);
      if (!dryRun)
        log.info({ removed: removed.map(({ kind, name }) => `${kind} ${name}`), bytes }, "collected");
      return { dry_run: dryRun, removed, removed_bytes: bytes, kept, skipped };
    },
  );
}
