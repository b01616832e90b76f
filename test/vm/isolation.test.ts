import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { Bootable, Sandbox } from "@kiln/host/sandbox/sandbox.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { openTestHome } from "../support/home.ts";
import { prepareUnderTest } from "./support/under-test.ts";

const COUNT = 10;

describe("ten sandboxes of one template at once", { timeout: 900_000 }, () => {
  const resources = new AsyncDisposableStack();
  let bootable: Bootable;
  let sandboxes: Sandbox[];

  before(async () => {
    const home = resources.use(await openTestHome());
    const host = resources.use(await SandboxHost.open(home));
    bootable = await prepareUnderTest(host);
    sandboxes = await Promise.all(Array.from({ length: COUNT }, () => host.start(bootable)));
    for (const sandbox of sandboxes) resources.use(sandbox);
  });
  after(() => resources.disposeAsync());

  const each = (script: string) =>
    Promise.all(
      sandboxes.map(async ({ agent }) => {
        const { stdout, stderr, exitCode } = await agent.run({ argv: ["/bin/sh", "-c", script] });
        assert.equal(exitCode, 0, stderr);
        return stdout.trim();
      }),
    );

  test("have ten hostnames, machine-ids and streams of random bytes", async () => {
    for (const script of [
      "hostname",
      "cat /etc/machine-id",
      "head -c 16 /dev/urandom | od -An -tx1",
      "cat /etc/hostname",
    ]) {
      assert.equal(new Set(await each(script)).size, COUNT, script);
    }
    const [names, inHosts] = [await each("hostname"), await each("getent hosts $(hostname) | head -1")];
    for (const [index, name] of names.entries())
      assert.match(inHosts[index] ?? "", new RegExp(`\\b${name}\\b`));
  });

  test("have clocks within a second of the host's", async () => {
    await Promise.all(
      sandboxes.map(async ({ agent }) => {
        const before = Date.now();
        const guest = Number((await agent.run({ argv: ["date", "+%s%3N"] })).stdout);
        assert.ok(guest > before - 1_000 && guest < Date.now() + 1_000, `${guest - before} ms off`);
      }),
    );
  });

  test("see only their own files, and so does the template", async () => {
    const before = await fingerprints(bootable);
    await Promise.all(
      sandboxes.map(({ agent }, index) => agent.files.write(`/root/mine-${index}`, Buffer.from(`${index}`))),
    );
    await each("sync");
    const listings = await each("ls /root");
    for (const [index, listing] of listings.entries()) {
      assert.deepEqual(
        listing.split("\n").filter((name) => name.startsWith("mine-")),
        [`mine-${index}`],
      );
    }
    assert.deepEqual(await fingerprints(bootable), before, "the template's files were written to");
  });
});

/** Sizes and times of all files a sandbox is made from, and the content of the small ones. */
async function fingerprints({ rootfs, snapshot }: Bootable): Promise<unknown> {
  const { memory, state } = snapshot.files;
  const stats = await Promise.all([rootfs.path, memory, state].map((path) => stat(path)));
  return [
    ...stats.map(({ size, mtimeMs, blocks }) => [size, mtimeMs, blocks]),
    (await readFile(state)).toString("hex"),
  ];
}
