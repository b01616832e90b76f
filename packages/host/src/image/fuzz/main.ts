import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fuzzImage } from "./fuzz-image.ts";

/** The long run: `node packages/host/src/image/fuzz/main.ts --runs 100000 --seed 1 --check-every 20`. */
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    "check-every": { type: "string", default: "20" },
  },
});
const BATCH = 1000;
const folder = await mkdtemp(join(tmpdir(), "kiln-fuzz-image-"));
try {
  const runs = Number(values.runs);
  for (let done = 0; done < runs; done += BATCH) {
    const report = await fuzzImage({
      seed: Number(values.seed) + done,
      runs: Math.min(BATCH, runs - done),
      folder,
      checkEvery: Number(values["check-every"]),
    });
    const rss = Math.round(process.memoryUsage().rss / 1024 ** 2);
    console.log(
      `${done + report.images + report.refused}: ${report.images} images, ${report.refused} refused, ${rss} MiB`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
