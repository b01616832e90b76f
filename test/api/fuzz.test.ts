/**
 * Requests that are wrong in every way the daemon's own description of them suggests, made by schemathesis, against a daemon
 * with a sandbox that lives: no answer is a 5xx that is not the error it should be, none is missing, the daemon goes on.
 *
 *     KILN_FUZZ_EXAMPLES=300 node --test test/api/fuzz.test.ts      more than 10,000 requests, for twenty minutes
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { pythonEnvironment } from "../../script/lib/test/python-environment.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { openTestHome } from "../support/home.ts";
import { SocketProxy } from "../support/socket-proxy.ts";

const EXAMPLES = Number(process.env.KILN_FUZZ_EXAMPLES ?? 6);
const SEED = Number(process.env.KILN_FUZZ_SEED ?? 1);
/** For each of two kinds of requests. */
const SECONDS = process.env.KILN_FUZZ_EXAMPLES === undefined ? 60 : 600;

/** Right ones build for minutes, and the tool's wrong ones are right now and then: see the other test. */
const BUILDING = ["POST /v1/builds", "POST /v1/sandboxes"];
/** Asked for in wrong ways alone: right ones take away the sandbox the others are about, or what other tests would build again. */
const WRONG_ALONE = [
  "DELETE /v1/sandboxes/{id}",
  "PATCH /v1/sandboxes/{id}",
  "POST /v1/sandboxes/{id}/pause",
  "POST /v1/sandboxes/{id}/resume",
  "POST /v1/sandboxes/{id}/snapshot",
  "DELETE /v1/templates/{name}",
  "POST /v1/gc",
];
/** Their answers do not end. */
const ENDLESS = ["GET /v1/sandboxes/{id}/hold", "GET /v1/sandboxes/{id}/files/watch"];
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
  assert.notEqual(
    daemon.pid,
    undefined,
    "a daemon runs in this home already, without the limits that forks need here",
  );
  await daemon.client.build("python");
  const templates = await namesOf(daemon);
  const sandbox = await daemon.client.sandbox({ image: "python", network: "none" });
  const folder = await mkdtemp(join(tmpdir(), "kiln-fuzz-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const proxy = cleanup.use(await SocketProxy.listen(join(daemon.home, "kiln.sock")));
  const document = (await daemon.client.openapi()) as Document;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  for (const known of [...BUILDING, ...WRONG_ALONE, ...ENDLESS]) assert.ok(operations.includes(known), known);
  // Behind ports is whatever listens in the sandbox: nothing does, and 502 is what says so.
  const others = operations.filter(
    (one) => ![...BUILDING, ...WRONG_ALONE, ...ENDLESS].includes(one) && !one.includes("/ports/"),
  );
  const python = join(await pythonEnvironment(join(import.meta.dirname, "../..")), "python");
  let requests = 0;
  for (const [mode, asked] of [
    ["all", others],
    ["negative", WRONG_ALONE],
  ] as const) {
    // Ids that exist are half of what is asked for.
    const text = JSON.stringify(only(document, asked)).replaceAll(
      '"name":"id",',
      `"name":"id","example":"${sandbox.id}",`,
    );
    const schema = join(folder, `${mode}.json`);
    await writeFile(schema, text);
    requests += await fuzz(python, schema, proxy.url, mode);
  }
  context.diagnostic(`${requests} requests`);
  assert.ok(requests > 500);
  assert.equal((await daemon.client.health()).status, "ok");
  // The tool's wrong ways are right now and then: the sandbox they were about may be gone, or be a template. Others can be made.
  for (const name of await namesOf(daemon)) {
    if (!templates.includes(name)) await daemon.client.templates.remove(name);
  }
  for await (const other of daemon.client.list()) await other.kill();
  await using fresh = await daemon.client.sandbox({ image: "python", network: "none" });
  assert.equal((await fresh.exec(["echo", "still here"])).stdout, "still here\n");
});

const namesOf = async ({ client }: DaemonHome) => (await client.templates.list()).map(({ name }) => name);

/** Each field of what creates something, one at a time, is each of these; the template is one that nobody has. */
const STRANGE: readonly unknown[] = [
  ...[null, true, 0, -1, 1.5, 1e308, 2 ** 53, "", "x\u0000y", "\ud800", "../..", "x".repeat(100_000)],
  ...[
    [],
    {},
    [null],
    { "": "" },
    { a: 1 },
    { allow: ["::1", "a b", "http://x/"] },
    { A: "x".repeat(100_000) },
  ],
];

test("nothing strange is created, and nothing that is refused is a fault", {
  timeout: 120_000,
}, async (context) => {
  await using daemon = await openDaemonHome();
  await using proxy = await SocketProxy.listen(join(daemon.home, "kiln.sock"));
  const { components } = (await daemon.client.openapi()) as {
    components: { schemas: Record<string, { properties: object }> };
  };
  const ask = async (path: string, body: string) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(new URL(path, proxy.url), { method: "POST", headers, body });
    return { status: response.status, answer: (await response.json()) as { code: string; message: string } };
  };
  const nobody = { template: "nobody-has-this" };
  let requests = 0;
  const refused = async (path: string, body: string) => {
    const { status, answer } = await ask(path, body);
    requests += 1;
    const isTooLarge = answer.code === "CAPACITY";
    assert.ok(status >= 400 && (status < 500 || isTooLarge), `${path} ${body.slice(0, 200)}: ${status}`);
    assert.ok(answer.message.length > 0 && answer.code !== "INTERNAL", body.slice(0, 200));
  };
  const ofSandbox = Object.keys(components.schemas.CreateSandboxInput?.properties ?? {});
  assert.ok(ofSandbox.includes("template"));
  for (const [path, fields] of [
    ["/v1/sandboxes", ofSandbox],
    ["/v1/builds", ["template", "spec", "vcpu", "memory_mib"]],
  ] as const) {
    for (const field of [...fields, "unknown"]) {
      for (const value of STRANGE) await refused(path, JSON.stringify({ ...nobody, [field]: value }));
    }
    for (const text of ["", "{", "[]", "null", "0", "{}", '{"template":', "\u0000", "[".repeat(50_000)])
      await refused(path, text);
  }
  context.diagnostic(`${requests} requests`);
  assert.ok(requests > 300, `${requests}`);
  assert.deepEqual(await daemon.sandboxes(), []);
});

function only(document: Document, operations: readonly string[]): Document {
  const paths: Document["paths"] = {};
  for (const operation of operations) {
    const [method = "", path = ""] = operation.split(" ");
    paths[path] = { ...paths[path], [method.toLowerCase()]: document.paths[path]?.[method.toLowerCase()] };
  }
  return { ...document, paths };
}

/** @returns how many requests were made, all of them answered as they should be. */
async function fuzz(python: string, schema: string, url: string, mode: string): Promise<number> {
  const what = ["-m", "schemathesis.cli", "run", schema, "--url", url, "--mode", mode];
  const limits = ["--seed", `${SEED}`, "-n", `${EXAMPLES}`, "--max-time", `${SECONDS}`];
  const rest = ["--request-timeout", "30", "--phases", "examples,coverage,fuzzing", "--no-color"];
  const checks = ["--checks", "not_a_server_error", "--continue-on-failure"];
  const child = spawn(python, [...what, ...limits, ...rest, ...checks], {
    cwd: dirname(schema),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, "exit");
  assert.equal(code, 0, `${mode}: ${output.slice(-6000)}`);
  return Number(/(\d+) generated/.exec(output)?.[1]);
}
