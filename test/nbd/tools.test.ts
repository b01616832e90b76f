/** The block server against programs nobody here wrote. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { execa } from "execa";
import { Random } from "../support/random.ts";
import { TestDisk } from "./support/test-disk.ts";
import { missing, tool } from "./support/tools.ts";

const MIB = 1024 * 1024;
const timeout = 180_000;

test("nbdinfo sees the disk and what it can do", { skip: missing("nbdinfo"), timeout }, async () => {
  await using it = await TestDisk.open(64 * MIB);
  const { exports } = JSON.parse(await tool("nbdinfo", ["--json", it.uri]));
  const [found] = exports;
  assert.equal(found["export-size"], 64 * MIB);
  for (const can of [
    "can_flush",
    "can_fua",
    "can_trim",
    "can_zero",
    "can_multi_conn",
    "can_df",
    "can_fast_zero",
  ]) {
    assert.equal(found[can], true, can);
  }
  assert.equal(found.is_read_only, false);
  assert.deepEqual(found.contexts, ["base:allocation"]);
  assert.equal(found.block_size_preferred, 4096);
  // Names give access to disks, so they are not told.
  await assert.rejects(tool("nbdinfo", ["--list", "--json", `nbd+unix:///?socket=${it.socketPath}`]));
  await assert.rejects(
    tool("nbdinfo", [`nbd+unix:///other?socket=${it.socketPath}`]),
    /No such file or directory for export: other/,
  );
});

test("nbdcopy copies in and out over several connections", {
  skip: missing("nbdcopy"),
  timeout,
}, async () => {
  await using it = await TestDisk.open(64 * MIB);
  const image = Buffer.alloc(64 * MIB);
  new Random(3).bytes(5 * MIB).copy(image, 7 * MIB + 512);
  const source = join(it.directory, "source");
  const target = join(it.directory, "target");
  await writeFile(source, image);
  await tool("nbdcopy", ["--connections=4", "--flush", source, it.uri]);
  await tool("nbdcopy", ["--connections=4", it.uri, target]);
  assert.ok((await readFile(target)).equals(image));
  assert.deepEqual(
    (await readFile(join(it.directory, "base"))).compare(it.base),
    0,
    "the base image was changed",
  );
});

test("qemu-io reads back what it wrote, zeroed and discarded", {
  skip: missing("qemu-io"),
  timeout,
}, async () => {
  await using it = await TestDisk.open(64 * MIB, "disk");
  const commands = [
    "write -P 0x11 0 1M",
    "write -P 0x22 4000 9000",
    "write -f -P 0x33 1000000 512",
    "write -z 20480 8192",
    "write -z 100 50",
    "discard 1M 1M",
    "flush",
    "read -P 0x11 150 3850",
    "read -P 0 100 50",
    "read -P 0x22 4000 9000",
    "read -P 0 20480 8192",
    "read -P 0x33 1000000 512",
    "read -P 0 1M 1M",
    "read -P 0 40M 24M",
  ];
  const output = await tool("qemu-io", [
    "-f",
    "raw",
    ...commands.flatMap((command) => ["-c", command]),
    it.uri,
  ]);
  assert.doesNotMatch(output, /fail|error/i);
});

test("fio verifies random writes of odd sizes", { skip: missing("fio"), timeout }, async () => {
  await using it = await TestDisk.open(128 * MIB);
  const job = ["--name=v", "--ioengine=nbd", `--uri=${it.uri}`, "--iodepth=16", "--size=32m"];
  const sizes = [
    "--bsrange=512-64k",
    "--blockalign=512",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--randseed=5",
  ];
  const output = await tool("fio", [...job, ...sizes, "--rw=randwrite", "--do_verify=1"], it.directory);
  assert.match(output, /err= 0/);
  const several = ["--numjobs=4", "--offset_increment=32m", "--group_reporting"];
  const parallel = await tool(
    "fio",
    [...job, ...sizes, ...several, "--rw=randrw", "--do_verify=1"],
    it.directory,
  );
  assert.match(parallel, /err= 0/);
});

test("qemu-io goes on with a new server after the old one is killed", {
  skip: missing("qemu-io"),
  timeout,
}, async () => {
  await using it = await TestDisk.open(16 * MIB);
  const server = `server.type=unix,server.path=${it.socketPath}`;
  const image = `driver=nbd,${server},export=disk,reconnect-delay=60`;
  const client = execa("qemu-io", ["--image-opts", image], { stdin: "pipe", all: true, timeout });
  let said = "";
  client.all.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  const command = async (text: string, answer: RegExp) => {
    said = "";
    client.stdin.write(`${text}\n`);
    while (!answer.test(said)) await once(client.all, "data", { signal: AbortSignal.timeout(60_000) });
  };
  await command("write -P 0x55 123 70000", /wrote 70000/);
  await it.killAndRestart();
  await command("read -P 0x55 123 70000", /read 70000/);
  assert.doesNotMatch(said, /fail|error/i);
  client.stdin.end("quit\n");
  await client;
});
