import { join } from "node:path";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { templateJsonSchema } from "./json-schema.ts";

// node packages/host/src/template/write-json-schema.ts: brings templates/template.schema.json up to date.
const path = join(import.meta.dirname, "../../../../templates/template.schema.json");
await writeFileAtomic(path, `${JSON.stringify(templateJsonSchema(), undefined, 2)}\n`);
