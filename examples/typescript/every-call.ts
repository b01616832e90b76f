// Every call of the SDK once, each with a look at what it gave. Run: node examples/typescript/every-call.ts [TEMPLATE]
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KilnClient, KilnError, type Sandbox } from "@kiln/sdk";

const image = process.argv[2] ?? "python";
const mark = `every-call-${process.pid}`;
using client = new KilnClient();

/** Reads a stream of bytes to its end, as text. */
async function text(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function step(name: string): void {
  console.log(`ok  ${name}`);
}

async function theService(): Promise<void> {
  assert.equal((await client.health()).status, "ok");
  assert.equal((await client.info()).apiVersion, 1);
  assert.match(await client.metrics(), /^# HELP/m);
  assert.ok((await client.openapi()) instanceof Object);
  step("the service: health, info, metrics, openapi");
}

async function templatesAndBuilds(): Promise<void> {
  assert.ok((await client.templates.list()).some(({ name }) => name === image));
  assert.equal((await client.templates.get(image)).name, image);
  const build = await client.builds.start(image);
  assert.ok((await client.builds.list()).some(({ id }) => id === build.id));
  assert.equal((await client.builds.get(build.id)).template, image);
  let last = "";
  for await (const event of client.builds.events(build.id)) last = event.type;
  assert.equal(last, "end");
  assert.equal((await client.builds.wait(build.id)).state, "done");
  await client.builds.cancel(build.id); // It is done: nothing to cancel.
  assert.equal((await client.build(image)).state, "done");
  step("templates and builds");
}

async function disk(): Promise<void> {
  const { totalBytes, sharedBytes, entries } = await client.disk.usage();
  assert.equal(
    entries.reduce((sum, { ownBytes }) => sum + ownBytes, sharedBytes),
    totalBytes,
  );
  const { kept, removedBytes } = await client.disk.collect({ dryRun: true, keep: 1, olderThanMs: 60_000 });
  assert.ok(kept.some(({ reason }) => reason === `it is ${image}`) && removedBytes >= 0);
  step("the disk: usage, collect");
}

async function lookUp(sandbox: Sandbox): Promise<void> {
  assert.equal((await client.get(sandbox.id.slice(0, 8))).id, sandbox.id);
  const found: string[] = [];
  for await (const { id } of client.list({ state: ["running"], image, metadata: { mark }, pageSize: 1 }))
    found.push(id);
  assert.deepEqual(found, [sandbox.id]);
  assert.equal((await sandbox.refresh()).state, "running");
  const { expiresAt } = await sandbox.extendTimeout(600);
  assert.ok(expiresAt !== null && expiresAt.getTime() > Date.now() + 500_000);
  assert.equal(
    (await sandbox.update({ onTimeout: "pause", metadata: { mark, more: "yes" } })).metadata.more,
    "yes",
  );
  assert.ok((await sandbox.stats()).processes > 0);
  await assert.rejects(
    client.get("nosuchsandbx"),
    (error) => error instanceof KilnError && error.code === "SANDBOX_NOT_FOUND",
  );
  step("get, list, refresh, update, extendTimeout, stats");
}

async function programs(sandbox: Sandbox): Promise<void> {
  const shout = await sandbox.exec(["sh", "-c", 'tr a-z A-Z; echo "$WHO" >&2; exit 3'], {
    input: "hello\n",
    env: { WHO: "me" },
    cwd: "/tmp",
    user: "root",
    timeoutMs: 30_000,
  });
  assert.deepEqual([shout.stdout, shout.stderr, shout.exitCode], ["HELLO\n", "me\n", 3]);
  const raw = await sandbox.exec(["printf", "\\377"], { encoding: "bytes", maxOutputBytes: 1024 });
  assert.deepEqual([...raw.stdout], [255]);
  assert.equal((await sandbox.exec(["sleep", "60"], { timeoutMs: 200 })).timedOut, true);
  await assert.rejects(sandbox.exec(["sleep", "60"], { signal: AbortSignal.timeout(200) }), {
    name: "TimeoutError",
  });
  step("exec");

  {
    await using cat = await sandbox.start(["cat"], { stdin: true });
    await cat.write("one\n");
    await cat.end("two\n");
    assert.equal(await text(cat.stdout), "one\ntwo\n");
    assert.deepEqual(await cat.wait(), { exitCode: 0, signal: undefined, timedOut: false });
  }
  {
    const terminal = { rows: 24, columns: 80 };
    const script = "stty size; read line; stty size";
    await using shell = await sandbox.start(["sh", "-c", script], { terminal, stdin: true });
    let screen = "";
    let asked = false;
    for await (const chunk of shell.stdout) {
      screen += chunk.toString();
      if (asked || !screen.includes("24 80\r\n")) continue;
      asked = true;
      await shell.resize({ rows: 30, columns: 100 });
      await shell.write("typed\n");
    }
    assert.match(screen, /24 80\r\ntyped\r\n30 100\r\n/);
  }
  {
    const sleeper = await sandbox.start(["sleep", "60"]);
    assert.equal((await sleeper.refresh()).state, "running");
    await sleeper.signal("SIGTERM");
    assert.equal((await sleeper.wait()).signal, "SIGTERM");
  }
  step("start: stdin, terminal, resize, refresh, signal, wait");

  const { id } = await sandbox.spawn(["sh", "-c", "echo begun; echo problem >&2; sleep 60"]);
  assert.ok((await sandbox.processes()).some((process) => process.id === id && process.background));
  const attached = await sandbox.attach(id, { stdout: 0, stderr: 0 });
  const seen: string[] = [];
  for await (const event of attached.output) {
    if (event.type !== "dropped") seen.push(`${event.type}: ${event.data}`);
    if (seen.length === 2) break;
  }
  assert.deepEqual(seen.sort(), ["stderr: problem\n", "stdout: begun\n"]);
  attached.detach();
  const look = await sandbox.attach(id, { follow: false });
  assert.equal(await text(look.stderr), "problem\n");
  await look.kill();
  assert.ok(!(await sandbox.processes()).some((process) => process.id === id));
  step("spawn, attach, processes, detach, kill");
}

async function files({ files }: Sandbox): Promise<void> {
  await files.mkdir("/tmp/every/deep", { parents: true });
  const changes = await files.watch("/tmp/every", { recursive: true });
  const written = await files.write("/tmp/every/deep/a.txt", "first\n", { mode: "600" });
  assert.deepEqual([written.sizeBytes, written.mode], [6, "600"]);
  const { value: change } = await changes.next();
  assert.match(change?.path ?? "", /deep/);
  await changes.return();
  assert.equal(await files.readText("/tmp/every/deep/a.txt"), "first\n");
  assert.equal((await files.read("/tmp/every/deep/a.txt", { offset: 2, length: 3 })).toString(), "rst");
  assert.equal(await text(await files.readStream("/tmp/every/deep/a.txt")), "first\n");

  const scratch = await mkdtemp(join(tmpdir(), "kiln-example-"));
  try {
    await writeFile(join(scratch, "big"), Buffer.alloc(3_000_000, 7));
    await files.write("/tmp/every/big", createReadStream(join(scratch, "big")), { parents: true });
  } finally {
    await rm(scratch, { recursive: true });
  }
  assert.equal((await files.stat("/tmp/every/big")).sizeBytes, 3_000_000);
  await files.rename("/tmp/every/big", "/tmp/every/bigger");
  assert.deepEqual(
    (await files.list("/tmp/every")).map(({ name, type }) => [name, type]),
    [
      ["bigger", "file"],
      ["deep", "directory"],
    ],
  );
  await files.untar("/tmp/every-copy", await files.tar("/tmp/every"));
  assert.equal(await files.readText("/tmp/every-copy/deep/a.txt"), "first\n");
  await files.remove("/tmp/every-copy", { recursive: true });
  assert.equal(await files.exists("/tmp/every-copy"), false);
  await assert.rejects(files.read("/tmp/every-copy"), { code: "FILE_NOT_FOUND" });
  step("files: mkdir, watch, write, read, stream, stat, rename, list, tar, untar, remove, exists");
}

const SERVER = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served " + self.path.encode())
http.server.HTTPServer(("127.0.0.1", 18080), Handler).serve_forever()
`;

async function ports(sandbox: Sandbox): Promise<void> {
  await using _server = await sandbox.start(["python3", "-c", SERVER]);
  let answer = "";
  for (let attempt = 0; answer === ""; attempt++) {
    const response = await sandbox.request(18080, "/by/request?x=1");
    if (response.status === 200) answer = await response.text();
    else {
      assert.ok(attempt < 100, "the server in the sandbox does not answer");
      response.body.destroy();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  assert.equal(answer, "served /by/request?x=1");
  const connection = await sandbox.connect(18080);
  connection.end("GET /by/connect HTTP/1.0\r\n\r\n");
  assert.match(await text(connection), /served \/by\/connect$/);
  await using forward = await sandbox.forward(18080);
  const response = await fetch(`http://${forward.host}:${forward.port}/by/forward`);
  assert.equal(await response.text(), "served /by/forward");
  if (process.env.KILN_URL?.startsWith("http")) assert.match(sandbox.url(18080), /\/ports\/18080\/$/);
  else assert.throws(() => sandbox.url(18080), { code: "USAGE" });
  step("ports: request, connect, forward, url");
}

async function lifeCycle(sandbox: Sandbox): Promise<void> {
  await sandbox.files.write("/tmp/kept", "still here");
  assert.equal((await sandbox.pause()).state, "paused");
  await assert.rejects(sandbox.exec(["true"]), { code: "SANDBOX_STATE" });
  assert.equal((await sandbox.resume({ timeoutS: 600 })).state, "running");
  assert.equal(await sandbox.files.readText("/tmp/kept"), "still here");
  step("pause, resume");

  const forks = await sandbox.fork(2);
  assert.equal(forks.length, 2);
  for (const fork of forks) {
    assert.equal(fork.info.parent, sandbox.id);
    assert.equal(await fork.files.readText("/tmp/kept"), "still here");
    await fork.kill();
  }
  step("fork, kill");

  const template = await sandbox.snapshot(mark);
  assert.deepEqual([template.name, template.source], [mark, "snapshot"]);
  try {
    await using next = await client.sandbox({ image: mark, held: true, onProgress: () => undefined });
    assert.equal(await next.files.readText("/tmp/kept"), "still here");
    assert.equal(next.info.held, true);
  } finally {
    await client.templates.remove(mark);
  }
  step("snapshot, a held sandbox of it, templates.remove");
}

await theService();
await templatesAndBuilds();
await disk();
await using sandbox = await client.sandbox({
  image,
  env: { GREETING: "hello" },
  metadata: { mark },
  timeoutS: 900,
  onTimeout: "kill",
  network: "none",
});
assert.equal((await sandbox.exec(["printenv", "GREETING"])).stdout, "hello\n");
await lookUp(sandbox);
await programs(sandbox);
await files(sandbox);
await ports(sandbox);
await lifeCycle(sandbox);
client.close();
console.log("every call works");
