import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { KilnHome } from "@kiln/host/home.ts";
import { openTestHome } from "../support/home.ts";
import { finish } from "../support/kiln.ts";
import { leftovers } from "../support/leftovers.ts";

const BENCH = join(import.meta.dirname, "../../bench/run.ts");

interface Figures {
  rows: {
    row: string;
    series: { label: string; values: number[]; summary: { median: number } }[];
    ratios: { ofMedians: number }[];
    breakdown: { of: string; parts: { label: string; values: number[] }[] }[];
  }[];
}

describe("the benchmark", { timeout: 900_000 }, () => {
  const resources = new AsyncDisposableStack();
  let home: KilnHome;
  const start = (...args: string[]) =>
    spawn(process.execPath, [BENCH, ...args], { env: { ...process.env, KILN_HOME: home.root } });

  before(async () => {
    const opened = await openTestHome();
    resources.use(opened);
    home = opened;
  });
  after(() => resources.disposeAsync());

  test("measures Kiln and the floor side by side, once, and leaves nothing behind", async () => {
    const { stdout, stderr, code } = await finish(start("tti", "warm", "memory", "--runs", "1", "--json"));
    assert.equal(code, 0, stderr);
    const { rows } = JSON.parse(stdout) as Figures;
    const names = rows.map(({ row }) => row);
    assert.deepEqual(
      names.filter((name) => !name.startsWith("warm")),
      ["tti", "tti-cpu", "memory"],
    );
    assert.ok(names.includes("warm-echo") && names.includes("warm-python"), names.join());
    for (const { row, series, ratios } of rows) {
      for (const { label, values, summary } of series) {
        assert.equal(values.length, 1, `${row} ${label}`);
        assert.equal(values[0], summary.median);
        assert.ok(label.includes("block server") || summary.median > 0, `${row} ${label}`);
      }
      assert.ok(ratios.length > 0 && ratios.every(({ ofMedians }) => ofMedians > 0), row);
    }
    // The parts of a start are the whole of it.
    const [tti] = rows;
    for (const { of, parts } of tti?.breakdown ?? []) {
      const whole = tti?.series.find(({ label }) => label === of)?.values[0] ?? 0;
      const sum = parts.reduce((total, { values }) => total + (values[0] ?? 0), 0);
      assert.ok(Math.abs(sum - whole) < 0.1, `${of}: ${sum} of ${whole} ms`);
    }
    assert.equal(tti?.breakdown.length, 2);
    assert.deepEqual(await leftovers(home.root), []);
  });

  test("ends in order on Ctrl-C", async () => {
    const child = start("floor", "--runs", "10000");
    child.stderr.setEncoding("utf8");
    let said = "";
    while (!said.includes("floor done")) {
      const [text] = (await Promise.race([once(child.stderr, "data"), once(child, "exit")])) as unknown[];
      assert.equal(child.exitCode, null, said);
      said += String(text);
    }
    child.kill("SIGINT");
    const { code, stderr } = await finish(child);
    assert.equal(code, 130, stderr);
    assert.deepEqual(await leftovers(home.root), []);
  });

  test("says what it does not understand", async () => {
    const { code, stderr } = await finish(start("no-such-row"));
    assert.equal(code, 2);
    assert.match(stderr, /no row "no-such-row"[\s\S]*hint: /);
  });
});
