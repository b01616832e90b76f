import { z } from "zod";
import { templateSpecSchema } from "./spec.ts";

/** The JSON Schema that editors check a spec against. Limits that are in bytes are not in it. */
export function templateJsonSchema(): object {
  const { "~standard": _, ...schema } = z.toJSONSchema(templateSpecSchema, {
    io: "input",
    target: "draft-2020-12",
  });
  return schema;
}
