import assert from "node:assert/strict";
import { test } from "node:test";
import { fromWire, toWire } from "./convert.ts";

test("names and times of the daemon become the SDK's, and what is the user's own stays", () => {
  const wire = {
    sandboxes: [
      {
        memory_mib: 512,
        created_at: "2026-01-31T12:00:00.000Z",
        expires_at: null,
        metadata: { my_key_at: "x" },
      },
    ],
    next_cursor: "a_b",
  };
  assert.deepEqual(fromWire(wire), {
    sandboxes: [
      {
        memoryMib: 512,
        createdAt: new Date("2026-01-31T12:00:00Z"),
        expiresAt: null,
        metadata: { my_key_at: "x" },
      },
    ],
    nextCursor: "a_b",
  });
});

test("options become the daemon's fields, of the first level", () => {
  assert.deepEqual(toWire({ timeoutS: null, memoryMib: 512, env: { camelCase: "1" }, vcpu: undefined }), {
    timeout_s: null,
    memory_mib: 512,
    env: { camelCase: "1" },
  });
});
