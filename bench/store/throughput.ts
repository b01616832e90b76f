/**
 * Push and pull of one image beside `aws s3 cp` of the same bytes, through the same MinIO.
 *
 *     script/minio node bench/store/throughput.ts FILE [ROUNDS]
 *
 * "The same bytes" are those that Kiln sends and receives: the packs, as one file, which aws sends in parts at once. A rate is those bytes
 * over the time of all that Kiln does: cutting, hashing, compressing; fetching, unpacking, checking, writing.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { encodeLazyFile, LAZY_SUFFIX } from "../../packages/host/src/lazy/lazy-file.ts";
import { openStore } from "../../packages/host/src/store/client/location.ts";
import { keys } from "../../packages/host/src/store/client/object-store.ts";
import { ChunkCache } from "../../packages/host/src/store/fetcher/chunk-cache.ts";
import { Fetcher } from "../../packages/host/src/store/fetcher/fetcher.ts";
import { MANIFEST_SUFFIX } from "../../packages/host/src/store/fetcher/lazy-image.ts";
import { readImageManifest } from "../../packages/host/src/store/known-chunks.ts";
import { pushImage } from "../../packages/host/src/store/push-image.ts";
import { ChunkThreads } from "../../packages/host/src/store/threads/chunk-threads.ts";

const MIB = 1024 * 1024;
const [file = "", rounds = "3"] = process.argv.slice(2);
const endpoint = process.env.KILN_TEST_S3_ENDPOINT ?? "";
const bucket = process.env.KILN_TEST_S3_BUCKET ?? "";
const folder = await mkdtemp("/tmp/kb-rate-");

async function timed(label: string, bytes: number, work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  const rate = bytes / MIB / ((performance.now() - started) / 1000);
  console.log(`${label.padEnd(12)} ${rate.toFixed(0).padStart(4)} MiB/s`);
  return rate;
}

const aws = (...words: string[]) =>
  promisify(execFile)("aws", ["--endpoint-url", endpoint, "s3", "cp", "--only-show-errors", ...words]);
const median = (rates: number[]) => rates.sort((a, b) => a - b)[Math.floor(rates.length / 2)] ?? 0;
const rates: Record<string, number[]> = { push: [], "aws up": [], pull: [], "aws down": [] };

for (let round = 0; round < Number(rounds); round++) {
  await using store = await openStore({ url: `s3://${bucket}/rate-${round}`, endpoint });
  const counters = { read: 0, reused: 0, sent: 0, resumed: 0 };
  await using threads = new ChunkThreads();
  const context = { store, threads, known: new Map(), counters, reusedPacks: new Map() };
  let image = "";
  const started = performance.now();
  image = (await pushImage(context, file)).digest;
  const rate = counters.sent / MIB / ((performance.now() - started) / 1000);
  console.log(`push         ${rate.toFixed(0).padStart(4)} MiB/s of ${(counters.sent / MIB).toFixed(0)} MiB`);
  rates.push?.push(rate);
  const { manifest, bytes: manifestBytes } = await readImageManifest(store, image);
  const parts = await Promise.all(
    manifest.packs.map(({ digest, length }) => store.get(keys.pack(digest), { maxBytes: length })),
  );
  const bytes = Buffer.concat(parts.filter((part) => part !== undefined));
  const same = join(folder, "same");
  await writeFile(same, bytes);
  rates["aws up"]?.push(await timed("aws up", bytes.length, () => aws(same, `s3://${bucket}/same-${round}`)));
  const target = join(folder, `pulled-${round}`);
  await writeFile(target, "");
  await truncate(target, (await stat(file)).size);
  await writeFile(target + MANIFEST_SUFFIX, manifestBytes);
  await writeFile(target + LAZY_SUFFIX, encodeLazyFile({ home: ".", image, parts: manifest.chunks }));
  const cache = new ChunkCache(join(folder, `chunks-${round}`), 2048 * MIB);
  const fetcher = new Fetcher({ store, cache, node: "0".repeat(24), completes: true });
  const never = new Promise(() => undefined);
  rates.pull?.push(await timed("pull", bytes.length, () => fetcher.complete(target, never)));
  await fetcher.stop();
  await cache.settle();
  await promisify(execFile)("cmp", [file, target]);
  await rm(target);
  rates["aws down"]?.push(
    await timed("aws down", bytes.length, () => aws(`s3://${bucket}/same-${round}`, join(folder, "down"))),
  );
}
await rm(folder, { recursive: true, force: true });
for (const [ours, theirs] of [
  ["push", "aws up"],
  ["pull", "aws down"],
] as const) {
  const [mine, other] = [median(rates[ours] ?? []), median(rates[theirs] ?? [])];
  console.log(`${ours}: ${(mine / other).toFixed(2)} of ${theirs} (medians)`);
}
process.exit(0); // The fetcher keeps timers.
