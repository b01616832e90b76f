/** Many sandboxes at once, and what is left of them. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { processesOf } from "../support/leftovers.ts";

const AT_ONCE = 20;
const ALIVE = 50;

/** What a home's processes and files are, apart from sandboxes. */
async function held(home: string): Promise<{ qemus: number; sockets: string[]; folders: string[] }> {
  const commands = [...(await processesOf(home)).values()];
  const names = async (folder: string) =>
    (await readdir(join(home, folder)).catch(() => [])).map((name) => `${folder}/${name}`);
  const unix = (await readFile("/proc/net/unix", "utf8"))
    .split("\n")
    .filter((line) => line.includes(`${home}/sandboxes/`));
  const folders = await Promise.all(["sandboxes", "layers", "saved"].map(names));
  return {
    qemus: commands.filter((command) => command.includes("qemu-system")).length,
    sockets: unix,
    folders: folders.flat(),
  };
}

describe("many sandboxes", { timeout: 600_000 }, () => {
  let daemon: DaemonHome;

  before(async () => {
    daemon = await openDaemonHome();
    await daemon.client.build("python");
  });
  after(() => daemon[Symbol.asyncDispose]());

  const create = () => daemon.client.sandbox({ image: "python", network: "none" });
  const hostnameOf = async (sandbox: Sandbox) => (await sandbox.exec(["hostname"])).stdout.trim();

  test(`${AT_ONCE} created at once all answer`, async () => {
    const sandboxes = await Promise.all(Array.from({ length: AT_ONCE }, create));
    const names = await Promise.all(sandboxes.map(hostnameOf));
    assert.deepEqual(
      names,
      sandboxes.map(({ id }) => id),
    );
    await Promise.all(sandboxes.map((sandbox) => sandbox.kill()));
  });

  test(`${ALIVE} alive together answer, the last as soon as the first; nothing is left of them`, async (context) => {
    const empty = await held(daemon.home);
    const took: number[] = [];
    const sandboxes: Sandbox[] = [];
    while (sandboxes.length < ALIVE) {
      const started = performance.now();
      const sandbox = await create();
      assert.equal(await hostnameOf(sandbox), sandbox.id);
      took.push(performance.now() - started);
      sandboxes.push(sandbox);
    }
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
    const [first, last] = [median(took.slice(0, 10)), median(took.slice(-10))];
    context.diagnostic(
      `create to first output: first ten ${first.toFixed(0)} ms, last ten ${last.toFixed(0)} ms (medians)`,
    );
    const began = performance.now();
    assert.deepEqual(
      await Promise.all(sandboxes.map(hostnameOf)),
      sandboxes.map(({ id }) => id),
    );
    context.diagnostic(`an exec in each of ${ALIVE} at once: ${(performance.now() - began).toFixed(0)} ms`);
    assert.equal((await held(daemon.home)).qemus, empty.qemus + ALIVE);
    await Promise.all(sandboxes.map((sandbox) => sandbox.kill()));
    assert.deepEqual(await held(daemon.home), empty);
  });
});
