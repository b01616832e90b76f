import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { KilnError } from "../errors.ts";
import { processId } from "../os/process-id.ts";
import { BlockServer } from "./block-server.ts";

const SIZE = 1024 * 1024;
const timeout = 60_000;

async function folder(t: TestContext): Promise<{ directory: string; base: string; diff: string }> {
  const directory = await mkdtemp(join(tmpdir(), "kiln-block-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const base = join(directory, "base");
  await writeFile(base, "");
  await truncate(base, SIZE);
  return { directory, base, diff: join(directory, "diff") };
}

const failsWith = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof KilnError && error.code === code && pattern.test(error.message);

test("disks are added, listed, sealed, stacked and removed", { timeout }, async (t) => {
  const { directory, base, diff } = await folder(t);
  await using server = await BlockServer.start({ directory });
  const disk = await server.addDisk({ id: "a", base, diff });
  assert.equal(disk.sizeBytes, SIZE);
  assert.equal(disk.nbd.socketPath, join(directory, "nbd/sock"));
  assert.match(disk.nbd.exportName, /^[0-9a-f]{32}$/);
  assert.equal((await disk.stats()).dataBlocks, 0);
  assert.deepEqual(
    (await server.disks()).map(({ id, sizeBytes }) => ({ id, sizeBytes })),
    [{ id: "a", sizeBytes: SIZE }],
  );
  await disk.seal();
  assert.deepEqual(await server.disks(), []);
  await assert.rejects(disk.stats(), failsWith("USAGE", /no disk "a"/));
  const layer = join(directory, "layer");
  await rename(diff, layer);
  await assert.rejects(server.addDisk({ id: "b", base, diff: layer }), failsWith("IMAGE_INVALID", /sealed/));
  const upper = await server.addDisk({ id: "b", base, layers: [layer], diff });
  await upper.remove();
  assert.deepEqual((await readdir(diff)).toSorted(), ["data", "map"]);
  await assert.rejects(server.addDisk({ id: "b", base, diff }), failsWith("IMAGE_INVALID", /other layers/));
  const again = await server.addDisk({ id: "b", base, layers: [layer], diff });
  await again.remove({ deleteDiff: true });
  assert.equal(existsSync(diff), false);
});

test("ids and diffs are used once, and bad options are all named", { timeout }, async (t) => {
  const { directory, base, diff } = await folder(t);
  await using server = await BlockServer.start({ directory });
  const both = await Promise.allSettled([
    server.addDisk({ id: "a", base, diff }),
    server.addDisk({ id: "a", base, diff }),
  ]);
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  await assert.rejects(server.addDisk({ id: "b", base, diff }), failsWith("USAGE", /writes to this diff/));
  await assert.rejects(
    server.addDisk({ id: "a/b", base: "relative", diff, sizeBytes: 0 }),
    failsWith("USAGE", /id: .*base: .*absolute.*sizeBytes: /),
  );
  const odd = { id: "c", base, diff: join(directory, "c") };
  await assert.rejects(server.addDisk({ ...odd, sizeBytes: SIZE + 1 }), failsWith("USAGE", /steps of 4 KiB/));
  await assert.rejects(
    server.addDisk({ ...odd, sizeBytes: 4096 }),
    failsWith("USAGE", /larger than the disk/),
  );
  assert.equal(existsSync(odd.diff), false);
});

test("a path too long for a socket is refused before anything is started", { timeout }, async (t) => {
  const { directory } = await folder(t);
  const long = join(directory, "x".repeat(100));
  await assert.rejects(BlockServer.start({ directory: long }), failsWith("USAGE", /107 are allowed/));
  assert.equal(existsSync(long), false);
});

test("two servers cannot share a folder, and a killed one leaves none unusable", { timeout }, async (t) => {
  const { directory, base, diff } = await folder(t);
  const first = await BlockServer.start({ directory });
  await first.addDisk({ id: "a", base, diff });
  await assert.rejects(BlockServer.start({ directory }), failsWith("BLOCK_FAILED", /another block server/));
  process.kill(first.pid, "SIGKILL");
  await first.exited;
  await assert.rejects(first.disks(), failsWith("BLOCK_FAILED", /is gone/));
  await first.stop();
  await using second = await BlockServer.start({ directory });
  await second.addDisk({ id: "a", base, diff });
});

test("two servers cannot write to one diff", { timeout }, async (t) => {
  const { directory, base, diff } = await folder(t);
  await using first = await BlockServer.start({ directory: join(directory, "1") });
  await using second = await BlockServer.start({ directory: join(directory, "2") });
  const disk = await first.addDisk({ id: "a", base, diff });
  await assert.rejects(second.addDisk({ id: "a", base, diff }), failsWith("BLOCK_FAILED", /another process/));
  await disk.remove();
  await second.addDisk({ id: "a", base, diff });
});

test("a stopped server leaves nothing but its log", { timeout }, async (t) => {
  const { directory } = await folder(t);
  const run = join(directory, "run");
  const server = await BlockServer.start({ directory: run });
  await server.stop();
  assert.equal(processId(server.pid), undefined);
  assert.deepEqual(await readdir(run), ["server.log"]);
});

test("lines that are no requests are answered and the connection is closed", { timeout }, async (t) => {
  const { directory } = await folder(t);
  await using server = await BlockServer.start({ directory });
  for (const line of ["{}", "no json", '{"op":"add","seq":1}', "x".repeat(2 * 1024 * 1024)]) {
    const socket = connect(join(directory, "control.sock"));
    let said = "";
    socket.on("data", (bytes) => {
      said += bytes.toString();
    });
    socket.on("error", () => undefined); // The server hangs up before it has read all of a line too long.
    socket.write(`${line}\n`);
    await new Promise((resolve) => socket.once("close", resolve));
    assert.match(said, /"version":2/);
  }
  assert.deepEqual(await server.disks(), []);
});

test("an owned server dies with its owner, a detached one can be taken up again", { timeout }, async (t) => {
  const { directory, base, diff } = await folder(t);
  const module = pathToFileURL(join(import.meta.dirname, "block-server.ts")).href;
  for (const detached of [false, true]) {
    const script = `
      import { BlockServer } from ${JSON.stringify(module)};
      const server = await BlockServer.start(${JSON.stringify({ directory, detached })});
      await server.addDisk(${JSON.stringify({ id: "a", base, diff })});
      console.log(server.pid);
      setInterval(() => {}, 1000);`;
    const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(owner.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    assert.ok(processId(pid));
    owner.kill("SIGKILL");
    await once(owner, "exit");
    if (detached) {
      const server = await BlockServer.attach(directory);
      assert.equal(server.pid, pid);
      assert.deepEqual(
        (await server.disks()).map(({ id }) => id),
        ["a"],
      );
      await server.stop();
    }
    const deadline = performance.now() + 5_000;
    while (processId(pid) !== undefined) {
      assert.ok(performance.now() < deadline, "the server is still alive");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
});

test("starting can be cancelled, and says why when it fails", { timeout }, async (t) => {
  const { directory } = await folder(t);
  await assert.rejects(
    BlockServer.start({ directory, signal: AbortSignal.abort() }),
    failsWith("CANCELLED", /cancelled/),
  );
  await assert.rejects(
    BlockServer.start({ directory, signal: AbortSignal.timeout(1) }),
    failsWith("CANCELLED", /cancelled/),
  );
  await mkdir(join(directory, "nbd"), { recursive: true });
  await writeFile(join(directory, "nbd/sock"), "not a socket");
  await assert.rejects(BlockServer.start({ directory }), failsWith("BLOCK_FAILED", /nbd.sock/));
  assert.equal(await readFile(join(directory, "nbd/sock"), "utf8"), "not a socket");
});
