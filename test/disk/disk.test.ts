/** What takes how much of the disk, and what goes when nothing needs it. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { KilnHome } from "@kiln/host/home.ts";
import type { Collected } from "@kiln/sdk/types.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { kiln } from "../support/kiln.ts";
import { collectUnderLoad } from "./stress.ts";
import { du, openDiskHome } from "./support.ts";

const SEED = Number(process.env.KILN_TEST_SEED ?? 7);

const spec = (name: string, version: string, from?: string) => ({
  name,
  ...(from === undefined ? { disk_mib: 1024, memory_mib: 256, vcpu: 1 } : { from }),
  setup_commands: [`echo ${version} > /etc/${name}`, "head -c 3000000 /dev/urandom > /opt/noise"],
});

const told = ({ removed }: Collected) =>
  removed.map(({ kind, name, bytes }) => `${kind} ${name} ${bytes}`).sort();

describe("the disk", { timeout: 1_200_000 }, () => {
  const resources = new AsyncDisposableStack();
  let home: KilnHome;
  let daemon: DaemonHome;

  before(async () => {
    home = resources.use(await openDiskHome());
    daemon = resources.use(await openDaemonHome(home.root));
  });
  after(() => resources.disposeAsync());

  const names = async (folder: string) => (await readdir(join(home.root, folder)).catch(() => [])).sort();

  test("collections break no build and no sandbox", async (context) => {
    context.diagnostic(JSON.stringify({ seed: SEED, ...(await collectUnderLoad(daemon, SEED)) }));
  });

  test("kiln du adds up to what du says, and says what is shared", async () => {
    await daemon.client.build(spec("web", "one"));
    await daemon.client.build(spec("shop", "one", "web"));
    await using sandbox = await daemon.client.sandbox({ image: "shop", network: "none" });
    await sandbox.exec(["sh", "-c", "head -c 20000000 /dev/urandom > /root/noise; sync"]);
    await sandbox.pause();
    const [usage, said] = [await daemon.client.disk.usage(), await du(home.root)];
    assert.ok(Math.abs(usage.totalBytes - said) <= 0.01 * said, `${usage.totalBytes} and ${said} bytes`);
    const own = usage.entries.reduce((sum, { ownBytes }) => sum + ownBytes, 0);
    assert.equal(own + usage.sharedBytes, usage.totalBytes);
    const find = (kind: string, name: string) => {
      const found = usage.entries.find((entry) => entry.kind === kind && entry.name.startsWith(name));
      assert.ok(found, `no ${kind} ${name} in ${JSON.stringify(usage.entries)}`);
      return found;
    };
    const rootfs = await du(join(home.root, "rootfs"));
    assert.ok(find("template", "web").sharedBytes > 0.9 * rootfs, "a parent's rootfs is its child's as well");
    assert.ok(find("template", "shop").sharedBytes > find("template", "web").sharedBytes);
    assert.ok(find("sandbox", sandbox.id).ownBytes >= 20_000_000, "what it wrote and its memory");
    assert.ok(find("snapshot", "web@").ownBytes > 0, "nobody runs from it");
    const { stdout, code } = await kiln(["du"], { home: home.root });
    assert.equal(code, 0);
    assert.match(stdout, /^template +shop /m);
    assert.match(stdout, /^ +total +\d/m);
  });

  test("what has a name stays; what has none any more goes, as the dry run says, and a running sandbox's goes last", async () => {
    await daemon.client.disk.collect();
    const sandbox = await daemon.client.sandbox({ image: "shop", network: "none" });
    const before = await names("rootfs");
    await daemon.client.build(spec("shop", "two", "web"));
    await daemon.client.build(spec("shop", "three", "web"));
    assert.equal((await names("rootfs")).length, before.length + 2);

    const kept = await daemon.client.disk.collect({ dryRun: true, keep: 1 });
    assert.equal(kept.removed.filter(({ kind }) => kind === "template").length, 0);
    const dry = await daemon.client.disk.collect({ dryRun: true });
    assert.equal((await names("rootfs")).length, before.length + 2, "a dry run removes nothing");
    const real = await daemon.client.disk.collect();
    assert.deepEqual(told(real), told(dry));
    assert.equal(real.removed.filter(({ kind }) => kind === "template").length, 1, "two, which nobody uses");
    assert.ok(real.kept.some(({ reason }) => reason.startsWith("a sandbox")));

    await sandbox.pause();
    await daemon.client.disk.collect();
    await sandbox.resume();
    assert.equal((await sandbox.exec(["cat", "/etc/shop"])).stdout, "one\n");
    await sandbox.kill();
    const last = await daemon.client.disk.collect();
    assert.equal(last.removed.filter(({ kind }) => kind === "template").length, 1);
    assert.equal((await names("rootfs")).length, before.length);
    const { stdout } = await (await daemon.client.sandbox({ image: "shop", network: "none" })).exec([
      "cat",
      "/etc/shop",
    ]);
    assert.equal(stdout, "three\n");
    for (const line of await daemon.sandboxes())
      await (await daemon.client.get(line.split(" ")[0] ?? "")).kill();
  });

  test("with nothing in use only what it says it keeps is left", async () => {
    for (const name of ["shop", "web"]) await daemon.client.templates.remove(name);
    const { kept, skipped } = await daemon.client.disk.collect({ olderThanMs: 1 });
    assert.deepEqual(skipped, []);
    const count = (kind: string) => kept.filter((part) => part.kind === kind).length;
    assert.equal(count("template") + count("snapshot"), 0);
    for (const folder of [
      "rootfs",
      "snapshots",
      "layers",
      "saved",
      "sandboxes",
      "builds",
      "tmp",
      "run",
      "uses",
    ]) {
      assert.deepEqual(await names(folder), [], folder);
    }
    const artifacts = [...(await names("artifacts/kernel")), ...(await names("artifacts/agent"))];
    assert.equal(
      artifacts.filter((name) => !name.endsWith(".json")).length,
      count("kernel") + count("agent"),
    );
    assert.deepEqual(
      kept.filter(({ kind }) => kind === "image").map(({ name }) => name),
      ["docker.io/library/debian:bookworm-slim"],
    );
    const again = await daemon.client.disk.collect({ olderThanMs: 1 });
    assert.deepEqual(again.removed, []);
    const usage = await daemon.client.disk.usage();
    assert.ok(Math.abs(usage.totalBytes - (await du(home.root))) <= 0.01 * usage.totalBytes);
  });
});
