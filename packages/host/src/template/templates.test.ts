import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KilnHome } from "../home.ts";
import { templateJsonSchema } from "./json-schema.ts";
import { parseTemplateSpec } from "./parse-spec.ts";
import { listTemplates, removeTemplate, resolveTemplate, saveTemplate } from "./templates.ts";

const project = join(import.meta.dirname, "../../../..");

async function withHome(work: (home: KilnHome) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "kiln-templates-"));
  try {
    await work(new KilnHome(root));
  } finally {
    await rm(root, { recursive: true });
  }
}

test("every template and example in the tree is valid and named after its file", async () => {
  for (const folder of ["templates", "examples"]) {
    for (const file of await readdir(join(project, folder))) {
      if (!file.endsWith(".json") || file === "template.schema.json") continue;
      const spec = parseTemplateSpec(JSON.parse(await readFile(join(project, folder, file), "utf8")), file);
      assert.equal(`${spec.name}.json`, file);
    }
  }
});

test("the published JSON Schema is the one in the code", async () => {
  const published = await readFile(join(project, "templates/template.schema.json"), "utf8");
  const hint = "run node packages/host/src/template/write-json-schema.ts, then biome";
  assert.deepEqual(JSON.parse(published), templateJsonSchema(), hint);
});

test("a name means the user's template, then a built-in one; a path means a file", () =>
  withHome(async (home) => {
    assert.equal((await resolveTemplate(home, "python")).memory_mib, 512);
    await saveTemplate(home, parseTemplateSpec({ name: "python", memory_mib: 1024 }));
    assert.equal((await resolveTemplate(home, "python")).memory_mib, 1024);
    assert.equal((await listTemplates(home)).find(({ name }) => name === "python")?.source, "user");
    const file = join(home.root, "spec.json");
    await writeFile(file, '{ "name": "mine" }');
    assert.equal((await resolveTemplate(home, file)).name, "mine");
    await removeTemplate(home, "python");
    assert.equal((await resolveTemplate(home, "python")).memory_mib, 512);
    await assert.rejects(removeTemplate(home, "python"), { code: "TEMPLATE_NOT_FOUND" });
  }));

test("what cannot be found or read is said clearly", () =>
  withHome(async (home) => {
    await assert.rejects(resolveTemplate(home, "pyhton"), {
      code: "TEMPLATE_NOT_FOUND",
      hint: 'did you mean "python"?',
    });
    await assert.rejects(resolveTemplate(home, "./nothing.json"), { code: "TEMPLATE_NOT_FOUND" });
    await assert.rejects(resolveTemplate(home, "..%2fpython"), { code: "TEMPLATE_NOT_FOUND" });
    await mkdir(home.root, { recursive: true });
    for (const noFile of [`${home.root}/`, "/dev/zero", "/dev/null"]) {
      await assert.rejects(resolveTemplate(home, noFile), { code: "SPEC_INVALID" });
    }
    await writeFile(join(home.root, "bad.json"), "{");
    await assert.rejects(resolveTemplate(home, join(home.root, "bad.json")), { code: "SPEC_INVALID" });
  }));
