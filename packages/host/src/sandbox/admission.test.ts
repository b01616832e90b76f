import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { KilnHome } from "../home.ts";
import { Admission } from "./admission.ts";
import { defaultLimits } from "./limits.ts";
import type { SandboxRecord } from "./sandbox-record.ts";

const MEMORY_MIB = 100;
const sandbox = (id: string, state: SandboxRecord["state"]) =>
  ({ id, state, memoryMib: MEMORY_MIB }) as SandboxRecord;

function open(records: SandboxRecord[], change: Partial<ReturnType<typeof defaultLimits>>): Admission {
  const limits = { ...defaultLimits(), minAvailableMemoryMib: 0, minFreeDiskMib: 0, ...change };
  return new Admission({ home: new KilnHome(tmpdir()), limits, records: () => records });
}

test("of those who come at once no more are let in than fit", async () => {
  const records: SandboxRecord[] = [];
  const admission = open(records, { maxSandboxes: 3 });
  const results = await Promise.allSettled(
    Array.from({ length: 5 }, (_, index) =>
      admission.letIn(1, MEMORY_MIB, () => records.push(sandbox(`s${index}`, "creating"))),
    ),
  );
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected"],
  );
  assert.equal(records.length, 3);
});

test("of paused ones that are resumed at once no more go on than have memory", async () => {
  const records = ["a", "b", "c"].map((id) => sandbox(id, "paused"));
  const [a, b, c] = records as [SandboxRecord, SandboxRecord, SandboxRecord];
  const admission = open(records, { maxMemoryMib: 2 * MEMORY_MIB });
  const rooms = [await admission.letInAgain(a), await admission.letInAgain(b)];
  await assert.rejects(admission.letInAgain(c), { code: "CAPACITY" });
  await assert.rejects(
    admission.letIn(1, MEMORY_MIB, () => undefined),
    { code: "CAPACITY" },
  );
  (await admission.letInAgain(a))[Symbol.dispose](); // A second wish for the same takes no more, and frees none of it.
  await assert.rejects(admission.letInAgain(c), { code: "CAPACITY" });
  rooms[0]?.[Symbol.dispose]();
  await admission.letInAgain(c);
});
