import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { ensureRootfs } from "@kiln/host/build/rootfs.ts";
import { KilnError } from "@kiln/host/errors.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import type { TemplateSpec } from "@kiln/host/template/spec.ts";
import { openTestHome } from "../support/home.ts";
import { containersOf, marker, processesWith, scratchOf, smallSpec, storeMounts } from "./support.ts";

let home: KilnHome & AsyncDisposable;
before(async () => {
  home = await openTestHome();
  await ensureRootfs(home, smallSpec("warm")); // Base image and agent are there from here on.
});
after(() => home[Symbol.asyncDispose]());

async function assertNothingLeft(word: string): Promise<void> {
  assert.deepEqual(await processesWith(word), []);
  assert.deepEqual(await containersOf(home), []);
  assert.deepEqual(await storeMounts(home), []);
  assert.deepEqual(await scratchOf(home), []);
}

/** A build in a process of its own, and its progress as it comes. */
function startBuild(spec: TemplateSpec) {
  const script = join(import.meta.dirname, "build-child.ts");
  const child = spawn(process.execPath, [script, JSON.stringify(spec)], {
    env: { ...process.env, KILN_HOME: home.root },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  const reader = createInterface(child.stdout).on("line", (line) => lines.push(line));
  const seen = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no "${text}" within two minutes:\n${lines.join("\n")}`)),
        120_000,
      );
      const look = () => {
        if (!lines.some((line) => line.includes(text))) return;
        clearTimeout(timer);
        resolve();
      };
      reader.on("line", look);
      look();
    });
  return { child, lines, seen, exit: once(child, "exit") };
}

test("a failing step is named, with its exit code, its last lines and the log", async () => {
  const mark = marker();
  const command = `seq 1 100 && echo ${mark}-said >&2 && exit 7`;
  const error = await ensureRootfs(home, smallSpec(mark, { setup_commands: [command] })).then(
    () => assert.fail("built"),
    (reason: unknown) => reason,
  );
  assert(error instanceof KilnError);
  assert.equal(error.code, "BUILD_FAILED");
  assert.equal(error.details?.exitCode, 7);
  assert.equal(error.details?.command, `RUN ${command}`);
  const tail = error.details?.tail as string[];
  assert.equal(tail.length, 40);
  assert(tail.includes(`${mark}-said`));
  assert(error.message.includes(`${mark}-said`));
  const log = await readFile(String(error.details?.log), "utf8");
  assert(log.includes("\n1\n2\n3\n") && log.includes(`${mark}-said`));
  await assertNothingLeft(mark);
});

test("a cancelled build ends at once and leaves nothing", { timeout: 120_000 }, async () => {
  const mark = marker();
  const cancel = new AbortController();
  const spec = smallSpec(mark, { setup_commands: [`(setsid sleep 600; : ${mark}) & sleep 601; : ${mark}`] });
  let cancelledAt = 0;
  const build = ensureRootfs(home, spec, {
    signal: cancel.signal,
    onProgress: ({ message }) => {
      if (!message?.includes("sleep 601") || cancelledAt) return;
      cancelledAt = performance.now();
      setTimeout(() => cancel.abort(), 1000);
    },
  });
  await assert.rejects(build, { code: "CANCELLED" });
  assert(performance.now() - cancelledAt < 15_000);
  await assertNothingLeft(mark);
});

test("after kill -9 in the middle of a step nothing runs on, and the next build works", {
  timeout: 240_000,
}, async () => {
  const mark = marker();
  const spec = smallSpec(mark, { setup_commands: [`[ -e /etc/mark ] && sleep 5; : ${mark}`] });
  const build = startBuild(spec);
  await build.seen("sleep 5");
  build.child.kill("SIGKILL");
  await build.exit;
  const deadline = performance.now() + 5000;
  while ((await processesWith(mark)).length > 0 && performance.now() < deadline)
    await new Promise(setImmediate);
  assert.deepEqual(await processesWith(mark), []);
  assert.deepEqual(await storeMounts(home), []);
  await ensureRootfs(home, spec);
  await assertNothingLeft(mark);
});

test("after kill -9 while the image is written the next build works", { timeout: 240_000 }, async () => {
  const mark = marker();
  const spec = smallSpec(mark);
  const build = startBuild(spec);
  await build.seen("rootfs small");
  build.child.kill("SIGKILL");
  await build.exit;
  await ensureRootfs(home, spec);
  await assertNothingLeft(mark);
});

test("two builds of one spec at once do the work once", { timeout: 240_000 }, async () => {
  const mark = marker();
  const spec = smallSpec(mark, { setup_commands: ["sleep 1"] });
  const builds = [startBuild(spec), startBuild({ ...spec, name: "twin" })];
  for (const { exit } of builds) assert.deepEqual(await exit, [0, null]);
  const worked = builds.filter(({ lines }) => lines.some((line) => line.includes('"step ')));
  assert.equal(worked.length, 1);
  const keys = builds.map(({ lines }) => lines.at(-1));
  assert.equal(keys[0], keys[1]);
});
