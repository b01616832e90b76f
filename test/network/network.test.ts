/**
 * The network of real VMs: servers in a network namespace are the internet. The cases run in a mount namespace, where /etc/hosts is one that
 * knows the servers' names.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { diesWithOwner } from "@kiln/host/os/owned-process.ts";
import { missing, World } from "./support/world-namespace.ts";

const TIMEOUT_MS = 600_000;

test("the network of a sandbox", { timeout: TIMEOUT_MS }, async (context) => {
  const why = await missing();
  if (why !== undefined) {
    context.skip(why);
    return;
  }
  await using world = await World.open();
  const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
  const cases = [process.execPath, "--disable-warning=ExperimentalWarning", "--test-reporter=spec"];
  const [command, args] = diesWithOwner("unshare", [
    ...["--mount", "sh", "-c", script, "sh", world.hosts],
    ...[...cases, join(import.meta.dirname, "support/cases.ts")],
  ]);
  // Of its own, not part of this run.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], env });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  const [code] = await once(child, "close");
  for (const line of output.trimEnd().split("\n")) context.diagnostic(line);
  assert.equal(code, 0, output);
  assert.match(output, /^ℹ pass [1-9]/m, "no case ran");
});
