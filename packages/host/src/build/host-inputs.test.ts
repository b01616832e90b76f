import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { hostInputs } from "./host-inputs.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-inputs-"));
});
after(() => rm(folder, { recursive: true }));

test("flags name files in the build, and never a value of the host", async () => {
  await writeFile(join(folder, "own.pem"), "own");
  const lent = join(folder, "lent");
  const flags = await hostInputs(lent, {
    SSL_CERT_FILE: join(folder, "own.pem"),
    PIP_INDEX_URL: "https://user:secret@pip.invalid/simple",
    npm_config_registry: "https://npm.invalid",
  });
  assert.equal(await readFile(join(lent, "ca.pem"), "utf8"), "own");
  assert.match(
    await readFile(join(lent, "pip.conf"), "utf8"),
    /index-url = https:\/\/user:secret@pip\.invalid/,
  );
  assert.equal(await readFile(join(lent, "npmrc"), "utf8"), "registry=https://npm.invalid\n");
  assert.match(await readFile(join(lent, "tools/uv-from-pypi.sh"), "utf8"), /^#!\/bin\/sh/);
  assert(flags.includes("--build-arg=PIP_CERT=/run/kiln/ca.pem"));
  assert(!flags.join(" ").includes("invalid"));
});

test("a value of several lines cannot add settings of its own", async () => {
  const flags = await hostInputs(join(folder, "bad"), { PIP_INDEX_URL: "https://a\n[evil]\nb = c" });
  assert(!flags.some((flag) => flag.includes("PIP_CONFIG_FILE")));
});
