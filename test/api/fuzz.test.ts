/**
 * Requests that are wrong in every way the daemon's own description of them suggests, made by schemathesis, against a daemon
 * with a sandbox that lives: no answer is a 5xx that is not the error it should be, none is missing, the daemon goes on.
 *
 *     KILN_FUZZ_EXAMPLES=300 node --test test/api/fuzz.test.ts      some 15,000 requests, for a quarter of an hour
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pythonEnvironment } from "../../script/lib/test/python-environment.ts";
import { openDaemonHome } from "../support/daemon-home.ts";
import { openTestHome } from "../support/home.ts";
import { SocketProxy } from "../support/socket-proxy.ts";

const EXAMPLES = Number(process.env.KILN_FUZZ_EXAMPLES ?? 12);
const SEED = Number(process.env.KILN_FUZZ_SEED ?? 1);
const SECONDS = process.env.KILN_FUZZ_EXAMPLES === undefined ? 90 : 1_500;

/** What a fuzzer's requests may not do: build for minutes, take away the sandbox the others are about, or never end. */
const LEFT_OUT = [
  "POST /v1/builds",
  "DELETE /v1/sandboxes/{id}",
  "PATCH /v1/sandboxes/{id}",
  "POST /v1/sandboxes/{id}/pause",
  "POST /v1/sandboxes/{id}/resume",
  "DELETE /v1/templates/{name}",
  "GET /v1/sandboxes/{id}/hold",
  "GET /v1/sandboxes/{id}/files/watch",
];
/** Forks of a hundred are asked for as well. */
const MAX_SANDBOXES = 3;

interface Document {
  paths: Record<string, Record<string, unknown>>;
}

test("no request, however wrong, is answered by a fault or by nothing", {
  timeout: 1_800_000,
}, async (context) => {
  await using cleanup = new AsyncDisposableStack();
  const { root } = cleanup.use(await openTestHome());
  const config = join(root, "config.json");
  await writeFile(config, JSON.stringify({ max_sandboxes: MAX_SANDBOXES }));
  cleanup.defer(() => rm(config, { force: true }));
  const daemon = cleanup.use(await openDaemonHome(root));
  await daemon.client.build("python");
  const sandbox = await daemon.client.sandbox({ image: "python", network: "none" });
  const folder = await mkdtemp(join(tmpdir(), "kiln-fuzz-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const proxy = cleanup.use(await SocketProxy.listen(join(daemon.home, "kiln.sock")));
  const document = (await daemon.client.openapi()) as Document;
  for (const left of LEFT_OUT) {
    const [method = "", path = ""] = left.split(" ");
    assert.ok(document.paths[path]?.[method.toLowerCase()], left);
    delete document.paths[path]?.[method.toLowerCase()];
  }
  // Behind these is whatever listens in the sandbox: nothing does, and 502 is what says so.
  for (const path of Object.keys(document.paths)) if (path.includes("/ports/")) delete document.paths[path];
  // Ids that exist are half of what is asked for.
  const text = JSON.stringify(document).replaceAll('"name":"id",', `"name":"id","example":"${sandbox.id}",`);
  const schema = join(folder, "openapi.json");
  await writeFile(schema, text);
  const python = join(await pythonEnvironment(join(import.meta.dirname, "../..")), "python");
  const words = ["-m", "schemathesis.cli", "run", schema, "--url", proxy.url];
  const limits = [
    "--seed",
    `${SEED}`,
    "-n",
    `${EXAMPLES}`,
    "--max-time",
    `${SECONDS}`,
    "--request-timeout",
    "30",
  ];
  const checks = [
    "--checks",
    "not_a_server_error",
    "--phases",
    "examples,coverage,fuzzing",
    "--continue-on-failure",
  ];
  const child = spawn(python, [...words, ...limits, ...checks, "--no-color"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, "exit");
  assert.equal(code, 0, output.slice(-6000));
  const cases = Number(/(\d+) generated/.exec(output)?.[1]);
  context.diagnostic(`${cases} requests`);
  assert.ok(cases > 500, output.slice(-2000));
  assert.equal((await daemon.client.health()).status, "ok");
  for (const { name, source } of await daemon.client.templates.list()) {
    if (source === "snapshot") await daemon.client.templates.remove(name);
  }
  assert.equal((await sandbox.exec(["echo", "still here"])).stdout, "still here\n");
});
