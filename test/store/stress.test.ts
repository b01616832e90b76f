/** Pushes, collections and lazy starts at once, seeded: KILN_STRESS_SEED repeats a run. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../packages/host/src/errors.ts";
import { collect } from "../../packages/host/src/store/collect.ts";
import { openNodeStore, Pull } from "../../packages/host/src/store/pull.ts";
import { pushParts } from "../../packages/host/src/store/push.ts";
import { verifyStore } from "../../packages/host/src/store/verify.ts";
import { Random } from "../support/random.ts";
import { openNode } from "./support/node.ts";
import { openFolderKind, openS3Kind, type StoreKind } from "./support/stores.ts";
import { type MadeTemplate, makeTemplate } from "./support/template.ts";

const seed = Number(process.env.KILN_STRESS_SEED ?? 1);
const starts = Number(process.env.KILN_STRESS_STARTS ?? 20);
const kinds: StoreKind[] = [await openFolderKind()];
const s3 = await openS3Kind();
if (typeof s3 === "string") test("S3", { skip: s3 }, () => undefined);
else kinds.push(s3);
after(async () => {
  for (const kind of kinds) await kind[Symbol.asyncDispose]();
});

for (const kind of kinds) {
  test(`nothing that is referred to is collected: ${kind.name}, seed ${seed}`, async () => {
    const random = new Random(seed);
    const location = kind.fresh();
    await using pusher = await openNode(location);
    await using puller = await openNode(location, { patience_s: 10 });
    await using store = await openNodeStore(pusher.config);
    // Three versions of each name, which share most of what they have.
    const versions: MadeTemplate[] = [];
    for (let index = 0; index < 6; index++) {
      versions.push(await makeTemplate(pusher.home, index % 2 === 0 ? "one" : "two", 100 + (index % 4), 512));
    }
    const push = ({ spec, parts }: MadeTemplate) => pushParts({ home: pusher.home, store, spec }, parts);
    for (const version of versions.slice(0, 2)) await push(version);
    let done = false;
    const pushing = [0, 1].map(async (parity) => {
      for (let round = 0; !done; round++) {
        const mine = versions.filter((_, index) => index % 2 === parity);
        await push(mine[round % mine.length] as MadeTemplate);
      }
    });
    const collecting = (async () => {
      let collections = 0;
      while (!done) {
        try {
          await collect(store, { keepVersionsMs: 0, keepUnusedMs: 0, patienceMs: 2_000 });
          collections++;
        } catch (error) {
          if (!(error instanceof KilnError && error.code === "CONFLICT")) throw error;
        }
        await delay(random.below(100));
      }
      return collections;
    })();
    const starting = Array.from({ length: starts }, async (_, index) => {
      await delay(random.below(3_000));
      const name = index % 2 === 0 ? "one" : "two";
      await using pull = await Pull.open(puller.home, puller.config, { name, digest: undefined });
      const { disk, snapshots } = pull.manifest;
      await pull.installFolders([disk.base, ...snapshots]);
      await delay(random.below(500));
      await pull.complete();
      const made = versions.find(({ parts }) => parts.disk.base === disk.base);
      for (const [path, content] of made?.files ?? []) {
        if (path.startsWith("artifacts/")) continue;
        assert.ok((await readFile(join(puller.home.root, path))).equals(content), path);
      }
    });
    const started = await Promise.allSettled(starting);
    done = true;
    await Promise.all(pushing);
    const collections = await collecting;
    for (const start of started) if (start.status === "rejected") throw start.reason;
    assert.ok(collections > 0, "nothing was ever collected");
    assert.deepEqual((await verifyStore(store)).damage, []);
  });
}
