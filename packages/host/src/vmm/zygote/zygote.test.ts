import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { EndedError } from "../../os/first-line.ts";
import { isAlive } from "../../os/process-id.ts";
import { Zygote } from "./zygote.ts";

let folder: string;
const scripts = new Map<string, string>();

const SOURCES = {
  // Says its words, then each line that it reads, and at the end that there are no more.
  echo: 'print STDOUT join(",", @_), "\\n"; while (sysread STDIN, my $text, 65536) { print STDOUT $text } print STDOUT "no more\\n"; exit 3',
  loud: 'print STDERR "x" x 300000; print STDOUT "\\nlast\\n"; exit 0',
  silent: "exit 7",
  // Outlives the zygote, as a VMM that is told to.
  sleeper: 'print STDOUT "ready\\n"; exec "sleep", "600"',
};

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-zygote-"));
  for (const [name, body] of Object.entries(SOURCES)) {
    const path = join(folder, `${name}.pl`);
    await writeFile(path, `package T_${name};\nuse strict;\nsub main { $| = 1; ${body} }\n\\&main;\n`);
    scripts.set(name, path);
  }
});
after(() => rm(folder, { recursive: true }));

const fork = async (
  name: keyof typeof SOURCES,
  words: string[] = [],
  ...rest: Parameters<Zygote["fork"]>[2][]
) => (await Zygote.get()).fork(scripts.get(name) ?? "", words, ...rest);
const pidOfZygote = async (pid: number | undefined): Promise<number> =>
  Number(/^PPid:\s+(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);

test("what is forked hears and is heard, whatever the bytes, and its end is told", async () => {
  const echo = await fork("echo", ["a b", "", "ü\n%", ""]);
  assert.equal(await echo.line(), "a b,,ü");
  assert.equal(await echo.line(), "%,");
  assert.ok(echo.isAlive);
  echo.write("one\n");
  assert.equal(await echo.line(), "one");
  echo.closeInput();
  assert.equal(await echo.line(), "no more");
  assert.deepEqual(await echo.ended, { code: 3, signal: null });
  assert.equal(echo.isAlive, false);
});

test("many at once are told apart, and none keeps another's input open", async () => {
  const all = await Promise.all(Array.from({ length: 20 }, (_, index) => fork("echo", [String(index)])));
  assert.deepEqual(
    await Promise.all(all.map((each) => each.line())),
    all.map((_, index) => String(index)),
  );
  for (const each of all.toReversed()) {
    each.closeInput();
    assert.equal(await each.line(), "no more");
  }
});

test("an input lasts as long as who was told to keep it", async () => {
  const first = await fork("echo");
  const second = await fork("sleeper", [], first);
  assert.deepEqual(await Promise.all([first.line(), second.line()]), ["", "ready"]);
  first.closeInput();
  assert.equal(await Promise.race([first.line(), delay(300, "nothing")]), "nothing");
  second.kill();
  assert.deepEqual(await second.ended, { code: null, signal: "SIGKILL" });
  assert.deepEqual(await first.ended, { code: 3, signal: null });
});

test("one that ends without a word, says too much, or is not there", async () => {
  await assert.rejects(
    (await fork("silent")).line(),
    (error) => error instanceof EndedError && error.exitCode === 7,
  );
  const loud = await fork("loud");
  assert.deepEqual(await loud.ended, { code: 0, signal: null });
  assert.ok(loud.lastWords.endsWith("x\nlast"));
  assert.ok(loud.lastWords.length <= 2_000);
  const missing = (await Zygote.get()).fork("/no/such.pl", []);
  assert.match(await missing.line(), /such\.pl: No such file/);
  assert.deepEqual(await missing.ended, { code: 1, signal: null });
});

test("what outlives a zygote that is killed is still looked after, and the next has another", async () => {
  const sleeper = await fork("sleeper");
  const echo = await fork("echo");
  await Promise.all([sleeper.line(), echo.line()]);
  const zygote = await pidOfZygote(sleeper.pid);
  process.kill(zygote, "SIGKILL");
  // Its input has ended with the zygote.
  assert.deepEqual(await echo.ended, { code: null, signal: null });
  assert.ok(sleeper.isAlive && isAlive(sleeper.id ?? ""));
  sleeper.kill();
  assert.deepEqual(await sleeper.ended, { code: null, signal: null });
  assert.ok(!isAlive(sleeper.id ?? ""));
  const next = await fork("echo");
  await next.line();
  assert.notEqual(await pidOfZygote(next.pid), zygote);
  next.kill();
});

test("it is no reason to stay, and goes with its owner", async () => {
  const module = join(import.meta.dirname, "zygote.ts");
  const script = `import { Zygote } from ${JSON.stringify(module)};
    const sleeper = (await Zygote.get()).fork(${JSON.stringify(scripts.get("echo"))}, []);
    await sleeper.line();
    console.log(sleeper.id);`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  const id = stdout.trim();
  assert.match(id, /^\d+-\d+$/);
  for (let attempt = 0; isAlive(id); attempt++) {
    assert.ok(attempt < 500, "it is still there");
    await delay(10);
  }
});
