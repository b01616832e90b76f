import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { testEnvironment } from "./environment.ts";
import { say } from "./run-process.ts";
import { runSuite } from "./run-suite.ts";
import { findSuites, type Suite } from "./suites.ts";
import { add, format, NOTHING, type Tally } from "./tally.ts";

const root = resolve(import.meta.dirname, "../../..");
const wanted = process.argv.slice(2);
const all = await findSuites(root);

if (wanted.includes("--list")) {
  for (const { name } of all) console.log(name);
  process.exit(0);
}
const unknown = wanted.filter((name) => !all.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(
    `script/test: no suite named ${unknown.join(", ")}; there are: ${all.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}
const suites = wanted.length > 0 ? all.filter(({ name }) => wanted.includes(name)) : all;

// The whole run ends with the first of these; the suite under way is killed and the data removed.
const stop = new AbortController();
const TOTAL_MINUTES = 60;
setTimeout(() => stop.abort(`the limit of ${TOTAL_MINUTES} minutes`), TOTAL_MINUTES * 60_000).unref();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort(name));

interface Result {
  suite: Suite;
  tally: Tally;
  seconds: number;
}
const results: Result[] = [];
{
  await using environment = await testEnvironment(root);
  await mkdir(environment.scratch, { recursive: true });
  const [beside, others] = [suites.filter(({ beside }) => beside), suites.filter(({ beside }) => !beside)];
  // What builds and boots waits for half of the time. What runs beside it is shown when it has ended.
  const alone = others.length === 0;
  const lanes = [
    inTurn(others, (suite) => timeSuite(suite, environment)),
    inTurn(beside, async (suite) => {
      const said: string[] = [];
      const show = alone ? undefined : (text: string) => void said.push(text);
      const result = await timeSuite(suite, environment, show);
      if (said.length > 0) process.stdout.write(said.join(""));
      return result;
    }),
  ];
  // A fault of the runner's own ends both before the data goes.
  for (const lane of lanes) lane.catch((error) => stop.abort(error));
  await Promise.allSettled(lanes);
  for (const report of await environment.silentBoots()) console.log(`\na guest was booted again:\n${report}`);
  await Promise.all(lanes);
}

async function inTurn(some: Suite[], run: (suite: Suite) => Promise<Result>): Promise<void> {
  for (const suite of some) {
    if (stop.signal.aborted) return;
    results.push(await run(suite));
  }
}

console.log("");
for (const { suite, tally, seconds } of results) {
  console.log(`${suite.name.padEnd(10)} ${seconds.toFixed(1).padStart(7)} s   ${format(tally)}`);
}
let total = results.map(({ tally }) => tally).reduce(add, NOTHING);
if (stop.signal.aborted) {
  console.log(`stopped by ${stop.signal.reason}: suites are missing`);
  total = add(total, { ...NOTHING, failed: 1 });
}
console.log(format(total));
process.exitCode = total.failed === 0 ? 0 : 1;

async function timeSuite(
  suite: Suite,
  { env, scratch }: { env: NodeJS.ProcessEnv; scratch: string },
  show?: (text: string) => void,
): Promise<Result> {
  const limit = AbortSignal.timeout(suite.minutes * 60_000);
  const signal = AbortSignal.any([stop.signal, limit]);
  const options = { cwd: root, env, signal, ...(show ? { show } : {}) };
  say(options, `\n== ${suite.name}`);
  const started = performance.now();
  const tally = await runSuite(suite, options, scratch);
  if (limit.aborted) say(options, `${suite.name}: killed after ${suite.minutes} minutes`);
  return { suite, tally, seconds: (performance.now() - started) / 1000 };
}
