/** Disks whose server and whose owner die, together or one after the other. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BlockServer } from "@kiln/host/block/block-server.ts";
import { DiskService } from "@kiln/host/block/disk-service.ts";
import type { KilnError } from "@kiln/host/errors.ts";
import { processId } from "@kiln/host/os/process-id.ts";
import { TestClient } from "./support/client.ts";

const SIZE = 1024 * 1024;
const BLOCK = 4096;
const timeout = 60_000;

async function folder(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), "kiln-service-"));
  t.after(async () => {
    // A test that failed may have left a detached server.
    const server = await BlockServer.attach(directory).catch(() => undefined);
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const base = join(directory, "base");
  await writeFile(base, "");
  await truncate(base, SIZE);
  const disk = (id: string) => ({
    id,
    base,
    diff: join(directory, id),
    exportName: `export-${id}`,
    sizeBytes: SIZE,
  });
  return { directory, disk };
}

/** Another process that adds `disks` and then dies by kill -9. @returns the server's pid. */
async function formerOwner(directory: string, disks: object[]): Promise<number> {
  const script = `
    import { DiskService } from "@kiln/host/block/disk-service.ts";
    const service = await DiskService.attach(${JSON.stringify(directory)});
    for (const disk of ${JSON.stringify(disks)}) await service.add(disk);
    console.log(await service.pid());
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: import.meta.dirname,
  });
  const [line] = (await once(owner.stdout, "data")) as [Buffer];
  owner.kill("SIGKILL");
  await once(owner, "exit");
  return Number(line.toString());
}

async function untilGone(pid: number): Promise<void> {
  for (let waited = 0; processId(pid) !== undefined; waited += 10) {
    assert.ok(waited < 5_000, "the server is still alive");
    await delay(10);
  }
}

/** Connects as soon as the disk is there again, as QEMU does. */
async function reconnect(path: string, name: string): Promise<TestClient> {
  for (let waited = 0; ; waited += 20) {
    try {
      return await TestClient.connect(path, name);
    } catch (error) {
      if (waited >= 10_000) throw error;
      await delay(20);
    }
  }
}

test("a server outlives its owner and is taken up with its disks and connections", { timeout }, async (t) => {
  const { directory, disk } = await folder(t);
  const pid = await formerOwner(directory, [disk("a"), disk("b"), disk("c")]);
  const path = join(directory, "nbd/sock");
  using client = await TestClient.connect(path, "export-a");
  await client.write(0, Buffer.alloc(BLOCK, 1));

  await using service = await DiskService.attach(directory);
  assert.equal(await service.pid(), pid);
  const a = await service.adopt(disk("a"));
  assert.deepEqual(a.nbd, { socketPath: path, exportName: "export-a" });
  // The same disk with other options is opened anew.
  const b = await service.adopt({ ...disk("b"), maxDiffBytes: SIZE });
  // And one that the server never had is added.
  const d = await service.adopt(disk("d"));
  await service.discardOthers();
  await assert.rejects(TestClient.connect(path, "export-c"), /no such export/);
  assert.ok(existsSync(disk("c").diff), "files are the caller's");
  assert.equal((await client.read(0, BLOCK)).data[0], 1);

  // The control connection alone tells of its end.
  process.kill(pid, "SIGKILL");
  using again = await reconnect(path, "export-a");
  assert.equal((await again.read(0, BLOCK)).data[0], 1);
  assert.notEqual(await service.pid(), pid);
  assert.equal(await service.stopIfIdle(), false);
  const last = await service.pid();
  await service.close();
  assert.notEqual(processId(last), undefined, "a server with disks stays");

  await using next = await DiskService.attach(directory);
  assert.equal(await next.pid(), last);
  for (const id of ["a", "b", "d"]) {
    const options = id === "b" ? { ...disk(id), maxDiffBytes: SIZE } : disk(id);
    await (await next.adopt(options)).discard();
    assert.equal(existsSync(disk(id).diff), false);
  }
  assert.equal(await next.stopIfIdle(), true);
  await untilGone(last);
  assert.deepEqual([b.nbd.exportName, d.nbd.exportName], ["export-b", "export-d"]);
});

test("what a former owner asked for is done before anybody else's wish", { timeout }, async (t) => {
  const { directory, disk } = await folder(t);
  await formerOwner(directory, [disk("a")]);
  const former = await BlockServer.attach(directory);
  const [a] = await former.disks();
  assert.ok(a);
  const rotating = a.rotate(join(directory, "next")).catch(() => undefined);
  const server = await BlockServer.attach(directory);
  const [claimed] = await server.claim();
  await rotating;
  const [later] = await server.disks();
  assert.deepEqual(claimed?.options, later?.options);
  assert.equal(former.isOpen, false);
  await server.stop();
});

test("without a server to take up one is started, and gone with the last disk", { timeout }, async (t) => {
  const { directory, disk } = await folder(t);
  const pid = await formerOwner(directory, [disk("a")]);
  process.kill(pid, "SIGKILL");
  await untilGone(pid);
  const service = await DiskService.attach(directory);
  const mine = await service.pid();
  assert.notEqual(mine, pid);
  await (await service.adopt(disk("a"))).discard();
  await service.close();
  await untilGone(mine);
});

test("a server that starts while its owner is killed is the next owner's, and the only one", {
  timeout: 3 * timeout,
}, async (t) => {
  const { directory } = await folder(t);
  const servers = () => {
    const { stdout } = spawnSync("pgrep", ["--full", `block/server/main.ts ${directory}$`]);
    return String(stdout).split("\n").filter(Boolean).map(Number);
  };
  const script = `
    import { DiskService } from "@kiln/host/block/disk-service.ts";
    setInterval(() => {}, 1000); // It ends by the kill alone, however early its server is there.
    console.log("begins");
    await DiskService.attach(${JSON.stringify(directory)});`;
  for (const ms of [0, 50, 150, 300, 2000]) {
    const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: import.meta.dirname,
    });
    await once(owner.stdout, "data");
    await delay(ms);
    owner.kill("SIGKILL");
    await once(owner, "exit");
    const service = await DiskService.attach(directory);
    const pid = await service.pid();
    assert.deepEqual(servers(), [pid], `killed after ${ms} ms`);
    // Killed, it leaves its sockets' names to the next.
    process.kill(pid, "SIGKILL");
    await untilGone(pid);
    await service.close();
  }
  assert.deepEqual(servers(), []);
});

test("servers that are started at once are one", { timeout }, async (t) => {
  const { directory } = await folder(t);
  const started = await Promise.allSettled(
    Array.from({ length: 4 }, () => BlockServer.start({ directory, detached: true })),
  );
  const failures = started.flatMap((one) => (one.status === "rejected" ? [one.reason as KilnError] : []));
  assert.equal(failures.length, 3);
  for (const { code, message } of failures) {
    assert.equal(code, "BLOCK_FAILED");
    assert.match(message, /another one has its folder/);
  }
  for (const one of started) if (one.status === "fulfilled") await one.value.stop();
});

test("a server that dies again and again is given up for a while, and it is said", { timeout }, async (t) => {
  const { directory, disk } = await folder(t);
  await using service = new DiskService(directory);
  const told: { failure: KilnError; ids: readonly string[] }[] = [];
  service.onFailure((failure, ids) => told.push({ failure, ids }));
  const a = await service.add(disk("a"));
  for (let round = 0; round < 6 && told.length === 0; round++) {
    const pid = await service.pid();
    process.kill(pid, "SIGKILL");
    await untilGone(pid);
    await delay(50);
    if (round < 5) assert.equal((await a.stats()).sizeBytes, SIZE);
  }
  assert.equal(told.length, 1);
  assert.deepEqual(told[0]?.ids, ["a"]);
  assert.match(told[0]?.failure.message ?? "", /died 6 times in a minute/);
  await assert.rejects(a.stats(), /died 6 times/);
  await a.discard();
  assert.equal(existsSync(disk("a").diff), false);
});

test("a disk that a new server cannot open takes no other with it", { timeout }, async (t) => {
  const { directory, disk } = await folder(t);
  await using service = new DiskService(directory);
  const told: string[] = [];
  service.onFailure((failure, ids) => told.push(`${ids.join()}: ${failure.code}`));
  const broken = await service.add(disk("a"));
  const sound = await service.add(disk("b"));
  await truncate(join(disk("a").diff, "map"), 100);
  process.kill(await service.pid(), "SIGKILL");
  using _client = await reconnect(sound.nbd.socketPath, "export-b");
  assert.equal((await sound.stats()).sizeBytes, SIZE);
  assert.deepEqual(told, ["a: IMAGE_INVALID"]);
  await assert.rejects(broken.stats(), /not a disk diff/);
  await broken.discard();
});
