/** Two daemons with homes of their own and one store: what is built, or paused, on one goes on on the other. */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { KilnHome } from "@kiln/host/home.ts";
import { FetchClient } from "@kiln/host/lazy/fetch-client.ts";
import { MemoryClient } from "@kiln/host/lazy/memory/memory-client.ts";
import { StoreConfig } from "@kiln/host/store/config.ts";
import { generateKey } from "@kiln/host/store/trust.ts";
import { parseTemplateSpec } from "@kiln/host/template/parse-spec.ts";
import { saveTemplate } from "@kiln/host/template/templates.ts";
import { KilnError } from "@kiln/sdk/errors.ts";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { kiln } from "../support/kiln.ts";
import { FaultyProxy } from "./support/faulty-proxy.ts";
import { fetcherPid } from "./support/node.ts";
import { openFolderKind, openS3Kind } from "./support/stores.ts";

const LAYERED = { name: "layered", from: "python", setup_commands: ["echo laid > /etc/layered"] };
const code = (expected: string) => (error: unknown) => error instanceof KilnError && error.code === expected;

describe("two nodes", { timeout: 900_000 }, () => {
  const stack = new AsyncDisposableStack();
  let a: DaemonHome;
  let b: DaemonHome;
  /** Between node b and the store; none before a folder. */
  let proxy: FaultyProxy | undefined;

  before(async () => {
    const s3 = await openS3Kind();
    if (typeof s3 === "string") process.stderr.write(`a folder takes the place of S3: ${s3}\n`);
    const kind = stack.use(typeof s3 === "string" ? await openFolderKind() : s3);
    const folder = await mkdtemp("/tmp/kn-");
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const key = join(folder, "key.pem");
    const store = StoreConfig.parse({
      ...kind.fresh(),
      trusted_keys: [await generateKey(key)],
      signing_key: key,
    });
    const built = stack.use(await openDaemonHome());
    for (const template of ["python", LAYERED]) await built.client.build(template);
    proxy = kind.port === undefined ? undefined : stack.use(await FaultyProxy.start(kind.port));
    const through = proxy ? { endpoint: `http://127.0.0.1:${proxy.port}` } : {};
    const open = async (name: string, bring: (root: string) => Promise<void>, changes = {}) => {
      const root = join(folder, name);
      await mkdir(root);
      await writeFile(join(root, "config.json"), JSON.stringify({ store: { ...store, ...changes } }));
      await bring(root);
      stack.defer(async () => {
        using fetcher = new FetchClient(root);
        using memory = new MemoryClient(root);
        await memory.stop();
        await fetcher.stop();
      });
      return stack.use(await openDaemonHome(root));
    };
    // One node has what was built; the other knows nothing but how VMs run on this host.
    a = await open("a", async (root) => {
      for (const name of ["artifacts", "probes", "rootfs", "snapshots"])
        await symlink(join(built.home, name), join(root, name));
      await saveTemplate(new KilnHome(root), parseTemplateSpec(LAYERED));
    });
    const probes = (root: string) =>
      cp(join(built.home, "probes"), join(root, "probes"), { recursive: true });
    b = await open("b", probes, through);
    for (const name of ["python", "layered"]) {
      const { code, stderr } = await kiln(["store", "push", "--key", key, name], { home: a.home });
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /no start of it was recorded/);
    }
  });
  after(() => stack.disposeAsync());

  async function output(sandbox: Sandbox, ...argv: string[]): Promise<string> {
    const { stdout, stderr, exitCode } = await sandbox.exec(argv);
    assert.equal(exitCode, 0, stderr);
    return stdout;
  }

  test("a template that was built on one runs on the other before it has arrived", async () => {
    await using sandbox = await b.client.sandbox({ image: "python", network: "none" });
    assert.equal(await output(sandbox, "python3", "-c", "print(1)"), "1\n");
    using fetcher = new FetchClient(b.home);
    const { files } = await fetcher.status();
    const rootfs = files.find(({ path }) => path.endsWith("rootfs.ext4"));
    assert.ok((rootfs?.missing ?? 0) > 0, "all of it was fetched first");
  });

  test("a sandbox tells which part it waits for while the store is away, and goes on when it is back", async (t) => {
    if (proxy === undefined) return t.skip("a folder is never away");
    await using sandbox = await b.client.sandbox({ image: "python", network: "none" });
    proxy.set({ down: true });
    const size = output(sandbox, "sh", "-c", "cat /usr/lib/git-core/git | wc -c");
    const reason = async () => (await b.client.get(sandbox.id)).info.reason;
    for (let waited = 0; (await reason()) === undefined; waited += 100) {
      assert.ok(waited < 30_000, "it gives no reason");
      await delay(100);
    }
    assert.match((await reason()) ?? "", /a part of its disk or memory could not be fetched: .*s3:/);
    assert.equal((await b.client.get(sandbox.id)).info.state, "running");
    proxy.set({});
    assert.ok(Number(await size) > 1_000_000);
    assert.equal(await reason(), undefined);
  });

  test("a fetcher that is killed is replaced, and a VM whose memory it was fetching goes on", async () => {
    await using sandbox = await b.client.sandbox({ image: "python", network: "none" });
    using fetcher = new FetchClient(b.home);
    const { files } = await fetcher.status();
    assert.ok(
      files.some(({ path, missing }) => path.endsWith("/memory") && missing > 0),
      "all of it is here",
    );
    process.kill(await fetcherPid(b.home), "SIGKILL");
    assert.equal(
      await output(sandbox, "python3", "-c", "import json, sqlite3; print(json.dumps([1]))"),
      "[1]\n",
    );
    assert.ok(Number(await output(sandbox, "sh", "-c", "cat /usr/bin/* | wc -c")) > 10_000_000);
  });

  test("so does one that starts from another, once its spec is there", async () => {
    const pulled = await kiln(["store", "pull", "layered"], { home: b.home });
    assert.equal(pulled.code, 0, pulled.stderr);
    await using sandbox = await b.client.sandbox({ image: "layered", network: "none" });
    assert.equal(await output(sandbox, "cat", "/etc/layered"), "laid\n");
  });

  test("a sandbox paused on one goes on on the other, and back: the same machine, never twice", async () => {
    const sandbox = await a.client.sandbox({ image: "python", network: "none", metadata: { job: "7" } });
    await sandbox.files.write("/var/tmp/note", "written on a\n");
    await output(sandbox, "sh", "-c", "sleep 100000 >/dev/null 2>&1 & echo $! > /var/tmp/pid");
    const machine = await output(sandbox, "cat", "/etc/machine-id");
    const { id } = sandbox;
    await assert.rejects(sandbox.push(), code("SANDBOX_STATE"), "it runs");
    await sandbox.pause();
    assert.match((await sandbox.push()).digest, /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(await a.sandboxes(), []);

    const moved = await b.client.pullSandbox(id);
    assert.equal(moved.info.state, "paused");
    await moved.resume();
    assert.equal(await output(moved, "cat", "/var/tmp/note"), "written on a\n");
    assert.equal(await output(moved, "cat", "/etc/machine-id"), machine);
    await output(moved, "sh", "-c", "kill -0 $(cat /var/tmp/pid)");
    assert.deepEqual(moved.info.metadata, { job: "7" });
    assert.equal(moved.info.network, "none");
    await assert.rejects(a.client.pullSandbox(id), code("SANDBOX_NOT_FOUND"));

    // Back, and both want it: one of them gets it.
    await moved.files.write("/var/tmp/note", "written on b\n");
    await moved.pause();
    await moved.push();
    const both = await Promise.allSettled([a.client.pullSandbox(id), b.client.pullSandbox(id)]);
    const won = both.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    assert.equal(won.length, 1, JSON.stringify(both));
    const [back] = won;
    await back?.resume();
    if (back) assert.equal(await output(back, "cat", "/var/tmp/note"), "written on b\n");
    await back?.kill();
  });
});
