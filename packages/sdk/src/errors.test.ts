import assert from "node:assert/strict";
import { test } from "node:test";
import { ERROR_TABLE } from "@kiln/host/errors.ts";
import { DAEMON_ERROR_CODES, fromErrorBody } from "./errors.ts";

test("the codes are those of the daemon", () => {
  assert.deepEqual([...DAEMON_ERROR_CODES].sort(), Object.keys(ERROR_TABLE).sort());
});

test("an error of a later daemon, and one that is none, are errors still", () => {
  const unknown = fromErrorBody(
    { code: "FROM_THE_FUTURE", message: "m", details: { a: 1 } },
    { status: 418 },
  );
  assert.deepEqual([unknown.code, unknown.message, unknown.status], ["INTERNAL", "m", 418]);
  assert.deepEqual(unknown.details, { a: 1, code: "FROM_THE_FUTURE" });
  for (const body of [undefined, null, "text", 5, {}]) assert.equal(fromErrorBody(body).code, "INTERNAL");
  const known = fromErrorBody({ code: "CAPACITY", message: "m", hint: "h" }, { request: "POST /x" });
  assert.deepEqual(
    [known.code, known.hint, known.request, known.details],
    ["CAPACITY", "h", "POST /x", undefined],
  );
});
