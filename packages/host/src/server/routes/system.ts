import { z } from "zod";
import { chosenEngine } from "../../sandbox/engine.ts";
import { freeDiskMib, usage } from "../../sandbox/limits.ts";
import { VERSION } from "../../version.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errors, raw } from "../responses.ts";

const Health = z.object({ status: z.literal("ok"), version: z.string(), pid: z.int(), uptime_s: z.number() });
const Info = z
  .object({
    version: z.string(),
    api_version: z.literal(1),
    engine: z.string().optional(),
    accelerator: z.string().optional(),
    home: z.string(),
    limits: z.object({ max_sandboxes: z.int(), max_memory_mib: z.int(), min_free_disk_mib: z.int() }),
    usage: z.object({ sandboxes: z.int(), memory_mib: z.int(), free_disk_mib: z.int() }),
  })
  .meta({ id: "Info" });

export function addSystemRoutes(app: App, { home, config, sandboxes, metrics }: DaemonContext): void {
  const tags = ["service"];
  app.get(
    "/healthz",
    { schema: { tags, summary: "Is the daemon well?", response: { 200: Health, ...errors } } },
    async () => ({
      status: "ok" as const,
      version: VERSION,
      pid: process.pid,
      uptime_s: Math.round(process.uptime() * 1000) / 1000,
    }),
  );

  app.get(
    "/metrics",
    {
      schema: {
        tags,
        summary: "Prometheus metrics",
        response: { 200: raw("text/plain", "metrics"), ...errors },
      },
    },
    async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );

  app.get("/openapi.json", { schema: { tags, summary: "This API, as OpenAPI 3.1", hide: true } }, async () =>
    app.swagger(),
  );

  app.get(
    "/v1/info",
    { schema: { tags, summary: "Version, engine, limits and use", response: { 200: Info, ...errors } } },
    async () => {
      const vmm = await chosenEngine(home);
      const { sandboxes: count, memoryMib } = usage(sandboxes.records);
      return {
        version: VERSION,
        api_version: 1 as const,
        ...(vmm && {
          engine: `${vmm.engine} ${vmm.identity.version}`,
          accelerator: vmm.identity.accelerator,
        }),
        home: home.root,
        limits: {
          max_sandboxes: config.limits.maxSandboxes,
          max_memory_mib: config.limits.maxMemoryMib,
          min_free_disk_mib: config.limits.minFreeDiskMib,
        },
        usage: { sandboxes: count, memory_mib: memoryMib, free_disk_mib: await freeDiskMib(home) },
      };
    },
  );
}
