import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { EngineName } from "@kiln/host/vmm/engines.ts";
import { openTestHome } from "../support/home.ts";
import { changes } from "../support/host-state.ts";
import { crashDaemon } from "./daemon.ts";
import { TestDaemon } from "./support/test-daemon.ts";

const engine = EngineName.optional().parse(process.env.KILN_TEST_ENGINE);
const template = process.env.KILN_TEST_TEMPLATE ?? "python";

test("kill -9 of the daemon, its servers and VMs under load loses nothing and leaves nothing", {
  timeout: 1_800_000,
}, async (t) => {
  await using home = await openTestHome();
  const report = await crashDaemon({
    home: home.root,
    kills: 10,
    seed: 3,
    engine,
    template,
    log: (line) => t.diagnostic(line),
  });
  t.diagnostic(JSON.stringify(report));
  assert.ok(report.killed.daemon >= 2, "the daemon was hardly killed");
  assert.ok(report.created >= 2, "there was hardly any load");
});

test("what a daemon that was killed left half done is done by the next, and nothing of it stays", {
  timeout: 600_000,
}, async () => {
  await using home = await openTestHome();
  await using daemon = await TestDaemon.start({ home: home.root, engine, template });
  const { keeper, client } = daemon;
  const [dead, paused] = [await daemon.create(), await daemon.create()];
  const vmOf = async (id: string) => {
    const record = JSON.parse(await readFile(join(home.sandbox(id), "sandbox.json"), "utf8"));
    return Number.parseInt(record.process, 10);
  };
  await client.send("POST", `/v1/sandboxes/${paused}/pause`, {});
  // A VM that ends while no daemon looks; and one whose folder was still there when its pause had been noted.
  const before = keeper.pid ?? 0;
  process.kill(before, "SIGSTOP");
  process.kill(await vmOf(dead), "SIGKILL");
  await mkdir(join(home.sandbox(paused), "vm/left"), { recursive: true });
  process.kill(before, "SIGKILL");
  while (keeper.pid === before) await delay(20);
  await keeper.back();

  const found = await client.send("GET", `/v1/sandboxes/${dead}`);
  assert.equal(!found.lost && found.json().state, "dead");
  const resumed = await client.send("POST", `/v1/sandboxes/${paused}/resume`, {});
  assert.equal(resumed.lost ? "lost" : resumed.status, 200);
  assert.equal(await daemon.shell(paused, "echo on"), "on");
  for (const id of await daemon.list()) await daemon.remove(id);
  await daemon.stop();
  assert.deepEqual(await changes(home.root, [], 10_000), []);
});
