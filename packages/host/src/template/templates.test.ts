import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KilnHome } from "../home.ts";
import { templateJsonSchema } from "./json-schema.ts";
import { checksOf, writtenSpec } from "./lineage.ts";
import { parseTemplateSpec } from "./parse-spec.ts";
import { specHash } from "./spec-hash.ts";
import { completeSpec, listTemplates, removeTemplate, resolveTemplate, saveTemplate } from "./templates.ts";

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
  await withHome(async (home) => {
    for (const folder of ["templates", "examples/templates"]) {
      for (const file of await readdir(join(project, folder))) {
        if (!/\.jsonc?$/.test(file) || file === "template.schema.json") continue;
        const spec = await resolveTemplate(home, join(project, folder, file));
        assert.equal(spec.name, file.replace(/\.jsonc?$/, ""));
      }
    }
  });
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

test("a spec file may have comments and trailing commas, and says where it has a mistake", () =>
  withHome(async (home) => {
    await mkdir(home.root, { recursive: true });
    const file = join(home.root, "spec.jsonc");
    await writeFile(file, '{ // mine\n  "name": "mine", /* two */ "vcpu": 3,\n}\n');
    assert.equal((await resolveTemplate(home, file)).vcpu, 3);
    await writeFile(file, '{ // mine\n  "name": "mine" "vcpu": 3 }');
    await assert.rejects(resolveTemplate(home, file), {
      code: "SPEC_INVALID",
      message: `${file} is not JSON: comma expected at line 2, column 18`,
    });
    await writeFile(file, '{ // mine\n  "name": "mine", "__proto__": { "vcpu": 3 } }');
    await assert.rejects(resolveTemplate(home, file), {
      code: "SPEC_INVALID",
      message: /__proto__.*reserved/,
    });
  }));

test("what a spec does not say of the machine is as in the template it starts from", () =>
  withHome(async (home) => {
    await saveTemplate(
      home,
      parseTemplateSpec({ name: "a", memory_mib: 768, user: "dev", checks: ["true"] }),
    );
    const child = await completeSpec(home, { name: "b", from: "a", vcpu: 3, checks: ["false"] });
    assert.deepEqual(
      [child.vcpu, child.memory_mib, child.user, child.parent?.name, checksOf(child)],
      [3, 768, "dev", "a", ["true", "false"]],
    );
    await saveTemplate(home, child);
    const again = await resolveTemplate(home, "b");
    assert.deepEqual(again, child);
    assert.equal(specHash(again), specHash(child));
    const grandchild = await completeSpec(home, { name: "c", from: "b" });
    assert.equal(grandchild.memory_mib, 768);
    assert.deepEqual(await completeSpec(home, writtenSpec(grandchild)), grandchild);
    await assert.rejects(completeSpec(home, { name: "d", from: "nothing" }), {
      code: "TEMPLATE_NOT_FOUND",
      message: /"nothing", which d starts from/,
    });
    await assert.rejects(completeSpec(home, { name: "d", from: "a", base_image: "debian" }), {
      code: "SPEC_INVALID",
    });
    await saveTemplate(home, { ...parseTemplateSpec({ name: "a", from: "b" }), parent: child });
    await assert.rejects(resolveTemplate(home, "a"), { code: "SPEC_INVALID", message: /a → b → a/ });
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
