import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { KilnError } from "@kiln/host/errors.ts";
import type { GuestAgent } from "@kiln/host/guest/agent.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { openTestHome } from "../support/home.ts";
import { prepareUnderTest } from "./support/under-test.ts";

describe("files of a resumed microVM", { timeout: 900_000 }, () => {
  const resources = new AsyncDisposableStack();
  let agent: GuestAgent;

  before(async () => {
    const home = resources.use(await openTestHome());
    const host = resources.use(await SandboxHost.open(home));
    agent = resources.use(await host.start(await prepareUnderTest(host))).agent;
  });
  after(() => resources.disposeAsync());

  const read = async (path: string, range = {}) => {
    const chunks = [];
    for await (const chunk of agent.files.read(path, range)) chunks.push(chunk);
    return Buffer.concat(chunks);
  };

  test("what is written is read, whole or in part", async () => {
    const content = randomBytes(3_000_000);
    assert.equal(await agent.files.write("/workspace/a", content), content.length);
    assert.deepEqual(await read("/workspace/a"), content);
    assert.deepEqual(
      await read("/workspace/a", { offset: 1_000, length: 77_777 }),
      content.subarray(1_000, 78_777),
    );
    const { stdout } = await agent.run({ argv: ["sha256sum", "a"] });
    assert.equal(stdout.split(" ")[0], createHash("sha256").update(content).digest("hex"));
  });

  test("a file is replaced whole, with mode and owner as asked", async () => {
    await agent.files.write("/workspace/deep/er/b", Buffer.from("one"), {
      parents: true,
      mode: 0o4755,
      user: "nobody",
    });
    await agent.files.write("/workspace/deep/er/b", Buffer.from("two"), { mode: 0o600, user: "nobody" });
    const info = await agent.files.stat("/workspace/deep/er/b");
    assert.deepEqual([info.name, info.type, info.mode, info.uid, info.size], ["b", "file", 0o600, 65534, 3]);
    assert.ok(Math.abs(info.modified.getTime() - Date.now()) < 5_000);
  });

  test("a write that is given up leaves the old file and nothing beside it", async () => {
    await agent.files.write("/workspace/kept/c", Buffer.from("old"), { parents: true });
    async function* failing() {
      yield Buffer.alloc(100_000);
      throw new Error("the source broke");
    }
    await assert.rejects(agent.files.write("/workspace/kept/c", failing()), /the source broke/);
    await agent.ping();
    assert.equal((await read("/workspace/kept/c")).toString(), "old");
    assert.equal((await agent.run({ argv: ["ls", "-A", "/workspace/kept"] })).stdout, "c\n");
  });

  test("directories are made, listed, renamed and removed", async () => {
    await agent.files.makeDirectory("/workspace/d/e", { parents: true, mode: 0o750 });
    await agent.run({ argv: ["ln", "-s", "target of it", "/workspace/d/link"] });
    const entries = [];
    for await (const entry of agent.files.list("/workspace/d")) entries.push(entry);
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(
      entries.map(({ name, type, target }) => [name, type, target]),
      [
        ["e", "directory", undefined],
        ["link", "symlink", "target of it"],
      ],
    );
    await agent.files.rename("/workspace/d", "/workspace/f");
    await assert.rejects(agent.files.remove("/workspace/f"), { code: "CONFLICT" });
    await agent.files.remove("/workspace/f", { recursive: true });
    await assert.rejects(agent.files.stat("/workspace/f"), { code: "FILE_NOT_FOUND" });
  });

  test("a directory of 20,000 entries is listed", async () => {
    await agent.run({
      argv: [
        "/bin/sh",
        "-c",
        "mkdir many && cd many && seq -f 'some-rather-long-name-%g' 20000 | xargs touch",
      ],
    });
    let count = 0;
    for await (const entry of agent.files.list("/workspace/many")) {
      assert.match(entry.name, /^some-rather-long-name-\d+$/);
      count += 1;
    }
    assert.equal(count, 20_000);
  });

  test("what cannot be is refused", async () => {
    await assert.rejects(read("/no/such/file"), { code: "FILE_NOT_FOUND" });
    await assert.rejects(read("/workspace"), { code: "GUEST_ERROR" });
    await assert.rejects(agent.files.write("/no/such/dir/file", Buffer.from("x")), {
      code: "FILE_NOT_FOUND",
    });
    await assert.rejects(
      agent.files.stat("a\0b"),
      (error) => error instanceof KilnError && error.code === "USAGE",
    );
    await assert.rejects(
      agent.files.stat("x".repeat(5_000)),
      (error) => error instanceof KilnError && error.code === "USAGE",
    );
  });

  test("reading can be left early", async () => {
    for await (const chunk of agent.files.read("/dev/zero")) {
      assert.ok(chunk.length > 0);
      break;
    }
    await agent.ping();
  });
});
