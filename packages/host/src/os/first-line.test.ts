import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { EndedError, firstLine } from "./first-line.ts";

const shell = (script: string) => spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });

describe("the first line of a process", { timeout: 30_000 }, () => {
  test("is what it says, also where it ends at once", async () => {
    assert.equal(await firstLine(shell("echo ready; exit 3")), "ready");
  });

  test("does not come from one that ends without a word: how it ended is told", async () => {
    await assert.rejects(firstLine(shell("exit 75")), (error: unknown) => {
      assert.ok(error instanceof EndedError);
      assert.deepEqual([error.exitCode, error.killedBy], [75, null]);
      return true;
    });
    await assert.rejects(firstLine(shell("kill -9 $$")), (error: unknown) => {
      assert.ok(error instanceof EndedError);
      assert.deepEqual([error.exitCode, error.killedBy], [null, "SIGKILL"]);
      return true;
    });
  });

  test("does not come from one that has ended before anybody asked", async () => {
    const child = shell("exit 4");
    child.stdout.resume();
    await once(child, "close");
    await assert.rejects(firstLine(child), { exitCode: 4 });
  });

  test("does not come from a program that is not there", async () => {
    const child = spawn("/no/such/program", [], { stdio: ["ignore", "pipe", "ignore"] });
    await assert.rejects(firstLine(child), { code: "ENOENT" });
  });

  test("is waited for until the signal", async () => {
    const child = shell("exec sleep 60");
    const waiting = new AbortController();
    const line = firstLine(child, waiting.signal);
    waiting.abort(new Error("enough"));
    await assert.rejects(line, (error: Error) => error.name === "AbortError" || error.message === "enough");
    child.kill("SIGKILL");
  });
});
