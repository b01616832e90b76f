import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Transport } from "../transport/transport.ts";
import { exec } from "./exec.ts";
import { startAttached } from "./process.ts";

const PROCESS = {
  id: "p1",
  argv: ["x"],
  state: "running",
  started_at: "2026-01-31T12:00:00.000Z",
  background: false,
  terminal: false,
  stdout_bytes: 0,
  stderr_bytes: 0,
};
const EXITED = { ...PROCESS, state: "exited", exit_code: 7, timed_out: false };

function frame(channel: number, payload: string | object): Buffer {
  const bytes = Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  const head = Buffer.alloc(5);
  head.writeUInt8(channel, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const started = frame(0, { type: "started", process: PROCESS });
const exit = frame(0, { type: "exit", process: EXITED });

describe("a process with its output attached", { timeout: 30_000 }, () => {
  let stack: AsyncDisposableStack;
  let transport: Transport;
  let requests: string[];
  /** What the server does with each request, in order. */
  let script: ((response: ServerResponse) => void)[];

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "kiln-sdk-"));
    stack.defer(() => rm(folder, { recursive: true }));
    requests = [];
    script = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      request.resume();
      const step = script.shift();
      if (step) step(response);
      else response.writeHead(204).end();
    }).listen(join(folder, "kiln.sock"));
    await once(server, "listening");
    stack.defer(async () => {
      server.closeAllConnections();
      server.close();
    });
    transport = new Transport({ kind: "unix", socketPath: join(folder, "kiln.sock") }, { autostart: false });
    stack.defer(async () => transport.close());
  });
  afterEach(() => stack.disposeAsync());

  const run = () => exec(transport, "s1", { argv: ["x"] }, {});
  /** Sends frames, and then breaks the connection. */
  const cutAfter =
    (...frames: Buffer[]) =>
    (response: ServerResponse) =>
      response.write(Buffer.concat(frames), () => setTimeout(() => response.destroy(), 20));
  const endWith =
    (...frames: Buffer[]) =>
    (response: ServerResponse) =>
      void response.end(Buffer.concat(frames));
  const refuse = (code: string) => (response: ServerResponse) =>
    void response.writeHead(404).end(JSON.stringify({ code, message: code }));

  test("goes on after cuts from where it was: nothing twice, nothing missing", async () => {
    script = [
      cutAfter(started, frame(1, "one "), frame(2, "warning"), frame(1, "tw").subarray(0, 6)),
      cutAfter(started, frame(0, { type: "ping" }), frame(1, "two ")),
      endWith(started, frame(0, { type: "dropped", channel: "stdout", bytes: 10 }), frame(1, "three")),
      endWith(started, exit),
    ];
    const result = await run();
    assert.deepEqual(
      [result.stdout, result.stderr, result.exitCode, result.truncated],
      ["one two three", "warning", 7, true],
    );
    assert.deepEqual(requests, [
      "POST /v1/sandboxes/s1/processes?attach=true",
      "GET /v1/sandboxes/s1/processes/p1/output?follow=true&stdout=4&stderr=7",
      "GET /v1/sandboxes/s1/processes/p1/output?follow=true&stdout=8&stderr=7",
      "GET /v1/sandboxes/s1/processes/p1/output?follow=true&stdout=23&stderr=7",
    ]);
  });

  test("a start whose beginning was not heard of is not repeated", async () => {
    script = [(response) => response.destroy()];
    await assert.rejects(run(), { code: "CONNECTION_LOST" });
    assert.equal(requests.length, 1);
  });

  test("a process that is not there any more after a cut is told of", async () => {
    script = [cutAfter(started), refuse("PROCESS_NOT_FOUND")];
    await assert.rejects(run(), { code: "PROCESS_NOT_FOUND" });
  });

  test("what the daemon says is wrong is told, and the process is not left behind", async () => {
    const error = { code: "VM_FAILED", message: "the VM ended" };
    script = [endWith(started, frame(0, { type: "error", error }))];
    await assert.rejects(run(), { code: "VM_FAILED", message: "the VM ended" });
    while (requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(requests[1], "DELETE /v1/sandboxes/s1/processes/p1");
  });

  test("what nobody reads does not hold it up, and of it the end is kept", async () => {
    const chunk = "x".repeat(64 * 1024);
    script = [
      endWith(
        started,
        ...Array.from({ length: 40 }, () => frame(2, chunk)),
        frame(1, "a"),
        frame(2, "last"),
        exit,
      ),
    ];
    const process = await startAttached(transport, "s1", { argv: ["x"] }, undefined);
    assert.equal((await process.wait()).exitCode, 7);
    let stderr = "";
    for await (const data of process.stderr) stderr += data;
    assert.ok(stderr.length <= 1024 * 1024 && stderr.length > 900_000, `${stderr.length}`);
    assert.ok(stderr.endsWith("xlast"));
    let all = 0;
    for await (const event of process.output)
      all += event.type === "dropped" ? event.bytes : event.data.length;
    assert.equal(all, 40 * chunk.length + 5, "what is not there any more is told");
  });

  test("a slow reader holds it up, and gets all of it", async () => {
    const chunk = "y".repeat(64 * 1024);
    script = [endWith(started, ...Array.from({ length: 64 }, () => frame(1, chunk)), exit)];
    const process = await startAttached(transport, "s1", { argv: ["x"] }, undefined);
    let size = 0;
    for await (const data of process.stdout) {
      size += data.length;
      if (size < 5 * chunk.length) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(size, 64 * chunk.length);
    assert.deepEqual(process.dropped, { stdout: 0, stderr: 0 });
  });

  test("writes keep their order", async () => {
    script = [(response) => response.write(started)];
    const process = await startAttached(transport, "s1", { argv: ["x"], stdin: true }, undefined);
    script = [(response) => setTimeout(() => response.writeHead(204).end(), 50)];
    await Promise.all([process.write("a"), process.write("b"), process.end("c")]);
    assert.deepEqual(requests.slice(1), [
      "POST /v1/sandboxes/s1/processes/p1/stdin",
      "POST /v1/sandboxes/s1/processes/p1/stdin",
      "POST /v1/sandboxes/s1/processes/p1/stdin?end=true",
    ]);
    await process[Symbol.asyncDispose]();
    assert.equal(requests.at(-1), "DELETE /v1/sandboxes/s1/processes/p1");
    await assert.rejects(process.wait());
  });
});
