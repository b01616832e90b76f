import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { CLI_MAIN } from "../support/kiln.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples/typescript");

describe("the examples in TypeScript", { timeout: 600_000 }, () => {
  let daemon: DaemonHome;

  before(async () => {
    daemon = await openDaemonHome();
    await daemon.client.build("python");
  });
  after(() => daemon[Symbol.asyncDispose]());

  async function run(name: string): Promise<string> {
    const env = { ...process.env, KILN_HOME: daemon.home, KILN_BIN: CLI_MAIN };
    const words = ["--disable-warning=ExperimentalWarning", join(EXAMPLES, name)];
    return (await promisify(execFile)(process.execPath, words, { env })).stdout;
  }

  test("the quickstart says what it should", async () => {
    assert.equal(await run("quickstart.ts"), "42 exit code 0\n");
  });

  test("every call works", async () => {
    assert.match(await run("every-call.ts"), /every call works\n$/);
  });

  test("they leave no sandbox", async () => {
    assert.deepEqual(await daemon.sandboxes(), []);
  });
});
