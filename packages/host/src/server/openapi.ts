import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { VERSION } from "../version.ts";

/** Name in the document of what a route's `*` stands for: OpenAPI has named parameters alone. */
const REST_OF_PATH = "path";
const REFERENCE = /"#\/components\/schemas\/([^"]+)"/g;

/** How the routes' schemas become an OpenAPI 3.1 document. */
export const openapiOptions: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: "3.1.0",
    info: {
      title: "Kiln",
      version: VERSION,
      description:
        "Templates, and sandboxes that start in well under a second. docs/api.md says what a schema cannot.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    tags: ["service", "templates", "builds", "disk", "sandboxes", "processes", "files", "ports"].map(
      (name) => ({
        name,
      }),
    ),
  },
  transform: (route) => nameRestOfPath(jsonSchemaTransform(route)),
  transformObject: (document) => withoutUnused(jsonSchemaTransformObject(document)),
};

type Transformed = ReturnType<typeof jsonSchemaTransform>;

function nameRestOfPath({ schema, url }: Transformed): Transformed {
  if (!url.endsWith("/*")) return { schema, url };
  const text = JSON.stringify(schema)
    .replaceAll('"*":', `"${REST_OF_PATH}":`)
    .replaceAll('"*"]', `"${REST_OF_PATH}"]`);
  return { schema: JSON.parse(text), url: url.replace(/\*$/, `:${REST_OF_PATH}`) };
}

/** Every schema is made in two forms, for requests and for answers, of which most are used in one. */
function withoutUnused<T extends object>(document: T): T {
  const { components, ...rest } = document as { components?: { schemas?: Record<string, object> } };
  const schemas = components?.schemas ?? {};
  const used = new Set<string>();
  const follow = (part: object) => {
    for (const [, name = ""] of JSON.stringify(part).matchAll(REFERENCE)) {
      if (used.has(name)) continue;
      used.add(name);
      follow(schemas[name] ?? {});
    }
  };
  follow(rest);
  const kept = Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
  return { ...rest, components: { ...components, schemas: kept } } as unknown as T;
}
