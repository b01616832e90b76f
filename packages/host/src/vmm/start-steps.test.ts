import assert from "node:assert/strict";
import { test } from "node:test";
import { KilnError } from "../errors.ts";
import { StartSteps } from "./start-steps.ts";

const STOPPED = { expected: true, reason: "it was stopped" };
const ENDED = { expected: false, reason: "QEMU ended with exit code 1: no such device" };
const never = new AbortController().signal;

test("a start that nobody wants any more was cancelled, whatever else went wrong", () => {
  const steps = new StartSteps("QEMU", never, AbortSignal.abort());
  assert.equal(steps.failure(new Error("hung up"), ENDED).code, "CANCELLED");
});

test("a VMM that ended by itself says more than the connection it took along", () => {
  const failure = new StartSteps("QEMU", never).failure(new KilnError("TIMEOUT", "no answer"), ENDED);
  assert.equal(failure.code, "VM_FAILED");
  assert.match(failure.message, /no such device/);
});

test("a limit that has passed is told with what was waited for", async () => {
  const steps = new StartSteps("Firecracker", never);
  const until = steps.within(10);
  await steps.wait("its API's socket", Promise.resolve());
  const late = steps.wait(
    "/drives/disk",
    new Promise((_, reject) => until.addEventListener("abort", () => reject(until.reason))),
  );
  const failure = steps.failure(await late.catch((error: unknown) => error), STOPPED);
  assert.equal(failure.code, "TIMEOUT");
  assert.equal(failure.message, "the VM did not start: Firecracker did not answer in time (/drives/disk)");
});

test("any other failure is no timeout", async () => {
  const steps = new StartSteps("QEMU", never);
  steps.within(60_000);
  const failed = await steps.wait("link", Promise.reject(new Error("no room"))).catch((error) => error);
  const failure = steps.failure(failed, STOPPED);
  assert.equal(failure.code, "VM_FAILED");
  assert.match(failure.message, /link: no room$/);
});
