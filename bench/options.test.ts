import assert from "node:assert/strict";
import { test } from "node:test";
import { KilnError } from "../packages/host/src/errors.ts";
import { parseOptions } from "./options.ts";

const names = (args: string[]) => parseOptions(args).rows.map(({ name }) => name);

test("without a row everything is measured but the floor alone", () => {
  assert.ok(names([]).includes("tti"));
  assert.ok(!names([]).includes("floor"));
  assert.deepEqual(names(["warm", "floor"]), ["warm", "floor"]);
});

test("--json before a file is a file, before a row or an option it is standard output", () => {
  const json = (...args: string[]) => {
    const { json, jsonFile } = parseOptions(args);
    return { json, jsonFile };
  };
  assert.deepEqual(json("--json", "out.json", "tti"), { json: false, jsonFile: "out.json" });
  assert.deepEqual(json("--json=out.json"), { json: false, jsonFile: "out.json" });
  assert.deepEqual(json("--json", "tti"), { json: true, jsonFile: undefined });
  assert.deepEqual(json("--json", "--runs", "3"), { json: true, jsonFile: undefined });
  assert.deepEqual(json("tti", "--json"), { json: true, jsonFile: undefined });
});

test("what is not understood is a usage error", () => {
  const bad = [
    ["nothing"],
    ["--runs", "0"],
    ["--runs", "1.5"],
    ["--runs", "x"],
    ["--runs"],
    ["--frobnicate"],
  ];
  for (const args of bad) {
    assert.throws(
      () => parseOptions(args),
      (error) => error instanceof KilnError && error.code === "USAGE",
    );
  }
});
