/**
 * How long a first command takes on a node that has never seen a template, and how much of it was fetched by then: beside a node
 * that has it. The store is MinIO behind a proxy that counts.
 *
 *     KILN_HOME=… script/minio node bench/store/lazy-start.ts [--template python] [--bandwidth MIB_PER_SECOND] [-- COMMAND …]
 *
 * KILN_HOME has the template built. "The image" is all that the node would have to fetch to have the template as a whole: root file
 * system, kernel, device state, memory and disk layer, as they are stored, compressed.
 */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { KilnHome } from "../../packages/host/src/home.ts";
import { FetchClient } from "../../packages/host/src/lazy/fetch-client.ts";
import { MemoryClient } from "../../packages/host/src/lazy/memory/memory-client.ts";
import { recordTrace } from "../../packages/host/src/sandbox/record-trace.ts";
import { StoreConfig } from "../../packages/host/src/store/config.ts";
import { readImageManifest } from "../../packages/host/src/store/known-chunks.ts";
import { openNodeStore } from "../../packages/host/src/store/pull.ts";
import { pushTemplate } from "../../packages/host/src/store/push.ts";
import { readTemplateManifest } from "../../packages/host/src/store/references.ts";
import { generateKey, readSigner } from "../../packages/host/src/store/trust.ts";
import { resolveTemplate } from "../../packages/host/src/template/templates.ts";
import { FaultyProxy } from "../../test/store/support/faulty-proxy.ts";

const MIB = 1024 * 1024;
// As the launcher does for everybody.
process.env.NODE_COMPILE_CACHE ??= join(homedir(), ".cache/kiln/node");
const MAIN = join(import.meta.dirname, "../../packages/cli/src/main.ts");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { template: { type: "string", default: "python" }, bandwidth: { type: "string" } },
});
const command = positionals.length > 0 ? positionals : ["python3", "-c", "print(1)"];
const home = KilnHome.fromEnvironment();
const endpoint = process.env.KILN_TEST_S3_ENDPOINT;
if (endpoint === undefined) throw new Error("run it with script/minio");

async function run(root: string): Promise<number> {
  const started = performance.now();
  const words = ["--disable-warning=ExperimentalWarning", MAIN, "run", values.template, "--", ...command];
  await promisify(execFile)(process.execPath, words, { env: { ...process.env, KILN_HOME: root } });
  return performance.now() - started;
}

async function serve(root: string): Promise<AsyncDisposable> {
  const { spawn } = await import("node:child_process");
  const words = ["--disable-warning=ExperimentalWarning", MAIN, "serve"];
  const child = spawn(process.execPath, words, { env: { ...process.env, KILN_HOME: root }, stdio: "ignore" });
  for (let tries = 0; tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (
      await readFile(join(root, "kiln.sock")).catch((error: NodeJS.ErrnoException) => error.code === "ENXIO")
    )
      break;
  }
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}

const median = (times: number[]) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;

await using proxy = await FaultyProxy.start(Number(new URL(endpoint).port));
const key = await mkdtemp("/tmp/kb-key-");
const publicKey = await generateKey(join(key, "key.pem"));
const location = {
  url: `s3://${process.env.KILN_TEST_S3_BUCKET}/lazy`,
  endpoint: `http://127.0.0.1:${proxy.port}`,
};
const config = StoreConfig.parse({ ...location, trusted_keys: [publicKey] });
await using store = await openNodeStore(config);
const spec = await resolveTemplate(home, values.template);
let started = performance.now();
const pushed = await pushTemplate({ home, store, spec, signer: await readSigner(join(key, "key.pem")) });
console.log(
  `push: ${(pushed.sent / MIB).toFixed(1)} MiB in ${((performance.now() - started) / 1000).toFixed(1)} s`,
);

started = performance.now();
await recordTrace(home, config, { spec, digest: pushed.digest });
console.log(`a start recorded in ${((performance.now() - started) / 1000).toFixed(1)} s`);

const manifest = await readTemplateManifest(store, { name: spec.name, digest: pushed.digest });
let imageBytes = 0;
for (const folder of [manifest.disk.base, manifest.kernel, ...manifest.snapshots.slice(0, 1)]) {
  for (const [name, file] of Object.entries(manifest.folders[folder] ?? {})) {
    const stored =
      "image" in file
        ? (await readImageManifest(store, file.image)).manifest.chunks.reduce(
            (sum, chunk) => sum + chunk.stored,
            0,
          )
        : (file.inline.length * 3) / 4;
    imageBytes += stored;
    console.log(`  ${folder.split("/")[0]}/${name}: ${(stored / MIB).toFixed(2)} MiB`);
  }
}
console.log(`image: ${(imageBytes / MIB).toFixed(1)} MiB`);

const warm: number[] = [];
await run(home.root);
for (let round = 0; round < 5; round++) warm.push(await run(home.root));
console.log(`warm: ${median(warm).toFixed(0)} ms (median of 5)`);

for (const label of ["first node", "second node"]) {
  const root = await mkdtemp("/tmp/kb-");
  await cp(join(home.root, "probes"), join(root, "probes"), { recursive: true });
  await writeFile(join(root, "config.json"), JSON.stringify({ store: config }));
  {
    await using _daemon = await serve(root);
    if (values.bandwidth) proxy.set({ bytesPerSecond: Number(values.bandwidth) * MIB });
    const before = proxy.received;
    const time = await run(root);
    const fetched = proxy.received - before;
    const share = ((100 * fetched) / imageBytes).toFixed(1);
    console.log(
      `${label}: ${time.toFixed(0)} ms, ${(fetched / MIB).toFixed(1)} MiB fetched, ${share} % of the image`,
    );
    proxy.set({});
    using client = new FetchClient(root);
    for (const { path, parts, missing, touched } of (await client.status()).files) {
      if (touched > 0)
        console.log(
          `  ${path.split("/").at(-1)}: ${touched} of ${parts} chunks touched, ${parts - missing} there`,
        );
    }
    started = performance.now();
    for (;;) {
      const { files, requests, fetchedBytes } = await client.status();
      if (files.every(({ missing }) => missing === 0)) {
        console.log(
          `  whole ${((performance.now() - started) / 1000).toFixed(1)} s later: ${requests} requests, ${(fetchedBytes / MIB).toFixed(1)} MiB`,
        );
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    using memory = new MemoryClient(root);
    await memory.stop();
    await client.stop();
  }
  await rm(root, { recursive: true, force: true });
}
await rm(key, { recursive: true, force: true });
process.exit(0);
