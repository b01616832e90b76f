import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errors } from "../responses.ts";
import { NoContent } from "../schemas/common.ts";
import { Template, TemplateList, TemplateParams } from "../schemas/template.ts";
import { describeTemplate, describeTemplates, forgetTemplate } from "../templates.ts";

export function addTemplateRoutes(app: App, { home, sandboxes }: DaemonContext): void {
  const tags = ["templates"];
  app.get(
    "/v1/templates",
    { schema: { tags, summary: "List templates", response: { 200: TemplateList, ...errors } } },
    async () => ({ templates: await describeTemplates(home) }),
  );
  app.get(
    "/v1/templates/:name",
    {
      schema: {
        tags,
        summary: "A template and its spec",
        params: TemplateParams,
        response: { 200: Template, ...errors },
      },
    },
    ({ params }) => describeTemplate(home, params.name),
  );
  app.delete(
    "/v1/templates/:name",
    {
      schema: {
        tags,
        summary: "Remove what was built from a template, and the template if it is the user's own",
        params: TemplateParams,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params }, reply) => {
      await forgetTemplate(home, sandboxes.holdings, params.name);
      return reply.code(204).send();
    },
  );
}
