import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { KilnHome } from "../../home.ts";
import { SOURCE_PROFILES } from "../../template/sources.ts";
import { knownSources } from "./known-sources.ts";

test("the configuration comes first, then what was found out; nothing is known before", async () => {
  const root = await mkdtemp(join(tmpdir(), "kiln-sources-"));
  try {
    const home = new KilnHome(root);
    const configure = (sources: unknown) => writeFile(join(root, "config.json"), JSON.stringify({ sources }));
    assert.equal(await knownSources(home), undefined);
    await configure("packages");
    assert.deepEqual(await knownSources(home), SOURCE_PROFILES.packages);
    await configure({ rust: "debian" });
    assert.equal(await knownSources(home), undefined);

    await mkdir(dirname(home.probe("sources")), { recursive: true });
    const found = {
      version: 1,
      found_at: new Date().toISOString(),
      sources: SOURCE_PROFILES.upstream,
      refused: {},
    };
    await writeFile(home.probe("sources"), JSON.stringify(found));
    assert.deepEqual(await knownSources(home), { ...SOURCE_PROFILES.upstream, rust: "debian" });
    await configure("auto");
    assert.deepEqual(await knownSources(home), SOURCE_PROFILES.upstream);
    await writeFile(home.probe("sources"), JSON.stringify({ ...found, version: 2 }));
    assert.equal(await knownSources(home), undefined);

    for (const wrong of ["everything", { rust: "nowhere" }, { go: "debian" }, 1]) {
      await configure(wrong);
      await assert.rejects(knownSources(home), { code: "USAGE", hint: /"auto", "upstream", "packages"/ });
    }
  } finally {
    await rm(root, { recursive: true });
  }
});
