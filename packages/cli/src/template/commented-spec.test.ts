import assert from "node:assert/strict";
import { test } from "node:test";
import { KilnHome } from "@kiln/host/home.ts";
import { parseJsonWithComments } from "@kiln/host/template/json-with-comments.ts";
import { completeSpec } from "@kiln/host/template/templates.ts";
import { commentedSpec, type NewSpec } from "./commented-spec.ts";

const home = new KilnHome("/nonexistent");
const read = async (spec: NewSpec) =>
  completeSpec(home, await parseJsonWithComments(commentedSpec(spec), "the text"));

test("says what was wanted, whatever characters are in it", async () => {
  const command = "echo \"a // b\" \\ 'c' /* d */";
  const spec = await read({
    name: "x",
    packages: ["git", "curl"],
    tools: ["uv"],
    commands: [command, "two\nlines"],
    checks: ["true"],
    user: "dev",
    vcpu: 3,
    memoryMib: 700,
  });
  assert.deepEqual(spec.setup_commands, [command, "two\nlines"]);
  assert.deepEqual(spec.apt_packages, ["curl", "git"]);
  assert.deepEqual(
    [spec.tools, spec.checks, spec.user, spec.vcpu, spec.memory_mib],
    [["uv"], ["true"], "dev", 3, 700],
  );
});

test("leaves to the template it starts from what nobody has said", async () => {
  const spec = await read({ name: "x", from: "claude-code" });
  assert.deepEqual([spec.user, spec.memory_mib, spec.parent?.name], ["dev", 2048, "claude-code"]);
  assert.equal((await read({ name: "x" })).memory_mib, 512);
});
