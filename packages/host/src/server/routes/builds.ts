import { Readable } from "node:stream";
import { completeSpec, resolveTemplate } from "../../template/templates.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errors, NDJSON, raw } from "../responses.ts";
import { NoContent } from "../schemas/common.ts";
import { Build, BuildList, BuildParams, CreateBuild } from "../schemas/template.ts";

export function addBuildRoutes(app: App, { home, builds, closing }: DaemonContext): void {
  const tags = ["builds"];
  app.post(
    "/v1/builds",
    { schema: { tags, summary: "Build a template", body: CreateBuild, response: { 202: Build, ...errors } } },
    async ({ body }, reply) => {
      const own = "spec" in body;
      const spec = own
        ? await completeSpec(home, body.spec, "spec")
        : await resolveTemplate(home, body.template);
      const { vcpu, memory_mib: memoryMib, engine, step_timeout_s: stepTimeout } = body;
      const build = await builds.start({
        spec,
        vcpu,
        memoryMib,
        engine,
        stepTimeoutMs: stepTimeout === undefined ? undefined : stepTimeout * 1000,
        save: own,
      });
      return reply.code(202).send(build);
    },
  );
  app.get(
    "/v1/builds",
    { schema: { tags, summary: "List builds", response: { 200: BuildList, ...errors } } },
    async () => ({ builds: builds.list() }),
  );
  app.get(
    "/v1/builds/:build",
    { schema: { tags, summary: "A build", params: BuildParams, response: { 200: Build, ...errors } } },
    async ({ params }) => builds.get(params.build),
  );
  app.get(
    "/v1/builds/:build/events",
    {
      schema: {
        tags,
        summary: "A build's progress, from its beginning to its end",
        params: BuildParams,
        response: { 200: raw(NDJSON, "BuildEvent, one a line"), ...errors },
      },
    },
    async ({ params }, reply) => {
      builds.get(params.build);
      return reply
        .type(NDJSON)
        .send(Readable.from(builds.events(params.build, closing), { objectMode: false }));
    },
  );
  app.delete(
    "/v1/builds/:build",
    {
      schema: {
        tags,
        summary: "Cancel a build",
        params: BuildParams,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params }, reply) => {
      await builds.cancel(params.build);
      return reply.code(204).send();
    },
  );
}
