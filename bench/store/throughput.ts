/**
 * Push and pull of one image beside `aws s3 cp` of the same bytes, through the same MinIO.
 *
 *     script/minio node bench/store/throughput.ts FILE [ROUNDS]
 *
 * "The same bytes" are those that Kiln sends and receives: the packs, as one file, which aws sends in parts at once. A rate is those bytes
 * over the time of all that Kiln does: cutting, hashing, compressing; fetching, unpacking, checking, writing.
 */
import { execFile } from "node:child_process";
import { mkdtemp, open, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { openStore } from "../../packages/host/src/store/client/location.ts";
import { keys } from "../../packages/host/src/store/client/object-store.ts";
import { fetchWhole } from "../../packages/host/src/store/install.ts";
import { readImageManifest } from "../../packages/host/src/store/known-chunks.ts";
import { pushImage } from "../../packages/host/src/store/push-image.ts";

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
  const context = { store, known: new Map(), counters, reusedPacks: new Map() };
  let image = "";
  const started = performance.now();
  image = (await pushImage(context, file)).digest;
  const rate = counters.sent / MIB / ((performance.now() - started) / 1000);
  console.log(`push         ${rate.toFixed(0).padStart(4)} MiB/s of ${(counters.sent / MIB).toFixed(0)} MiB`);
  rates.push?.push(rate);
  const { manifest } = await readImageManifest(store, image);
  const parts = await Promise.all(
    manifest.packs.map(({ digest, length }) => store.get(keys.pack(digest), { maxBytes: length })),
  );
  const bytes = Buffer.concat(parts.filter((part) => part !== undefined));
  const same = join(folder, "same");
  await writeFile(same, bytes);
  rates["aws up"]?.push(await timed("aws up", bytes.length, () => aws(same, `s3://${bucket}/same-${round}`)));
  const target = join(folder, "pulled");
  await using handle = await open(target, "w+");
  await handle.truncate((await stat(file)).size);
  rates.pull?.push(await timed("pull", bytes.length, () => fetchWhole(store, manifest, handle.fd)));
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
