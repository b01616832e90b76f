import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Checkout } from "./checkout.ts";

const MAIN = `
import { z } from "zod";
const [command, value] = z.array(z.string()).parse(process.argv.slice(2));
if (command === "template") {
  if (value === "wait") setInterval(() => {}, 1000);
  console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd() }));
  process.exitCode = Number(process.env.CODE ?? 0);
} else console.log("main ran");
`;

let checkout: Checkout;
before(async () => {
  checkout = await Checkout.make(MAIN);
});
after(() => checkout[Symbol.asyncDispose]());

test("two first runs at once install once, and both work", async () => {
  const runs = await Promise.all([1, 2].map(() => checkout.run(["template", "ls"])));
  for (const { code, stdout, stderr } of runs) {
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { args: ["template", "ls"], cwd: checkout.folder });
  }
  const installs = runs.filter(({ stderr }) => stderr.includes("npm packages ..."));
  assert.equal(installs.length, 1, runs.map(({ stderr }) => stderr).join("\n--\n"));
});

test("a second run sets nothing up and says nothing", async () => {
  const { code, stdout, stderr } = await checkout.run(["--help"]);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "main ran\n", stderr: "" });
});

test("arguments, working folder and exit code pass through, also through a chain of symlinks", async () => {
  const deep = join(checkout.folder, "a folder");
  await mkdir(deep);
  await symlink("../checkout/bin/kiln", join(deep, "relative"));
  await symlink(join(deep, "relative"), join(deep, "absolute"));
  const args = ["template", "a b", "", "--x=$y", "*"];
  const { code, stdout, stderr } = await checkout.run(args, {
    path: join(deep, "absolute"),
    cwd: deep,
    env: { CODE: "7" },
  });
  assert.equal(code, 7, stderr);
  assert.deepEqual(JSON.parse(stdout), { args, cwd: deep });
});

test("a signal reaches the command itself", { timeout: 60_000 }, async () => {
  const { child, ended } = checkout.start(["template", "wait"]);
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  assert.equal((await ended).signal, "SIGTERM");
});

test("a touched lock file costs a check, not an installation", async () => {
  await utimes(join(checkout.root, "package-lock.json"), new Date(), new Date());
  assert.equal((await checkout.run(["--help"])).stderr, "");
});

test("what is missing is named with the command to type, and nothing is printed on stdout", async () => {
  const PATH = await checkout.pathWithout("podman", "qemu-system-x86_64", "sudo");
  // The launcher looks into sbin as well; this machine's podman is not there.
  const { code, stdout, stderr } = await checkout.run(["run", "python"], {
    env: { PATH, KILN_SETUP: "never" },
  });
  assert.equal(code, 4, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /podman +builds/);
  assert.match(stderr, /sudo apt-get install --no-install-recommends .*podman.* ?qemu-system-x86/);
});

test("commands that start no machine ask for no system packages", async () => {
  const PATH = await checkout.pathWithout("podman", "qemu-system-x86_64", "sudo");
  for (const args of [["--help"], ["run", "--help"], ["template", "ls"], ["doctor"], []]) {
    const { code, stderr } = await checkout.run(args, { env: { PATH, KILN_SETUP: "never" } });
    assert.equal(code, 0, `${args}: ${stderr}`);
  }
});

test("missing npm packages are not installed against the user's will", async () => {
  await using fresh = await Checkout.make(MAIN);
  const { code, stdout, stderr } = await fresh.run(["--help"], { env: { KILN_SETUP: "never" } });
  assert.deepEqual({ code, stdout }, { code: 4, stdout: "" }, stderr);
  assert.match(stderr, /npm ci/);
});

test("a set-up killed at any moment is taken up by the next run", { timeout: 180_000 }, async () => {
  await using fresh = await Checkout.make(MAIN);
  for (const ms of [100, 400, 900, 1600, 2400]) {
    const { ended, killGroup } = fresh.start(["--help"]);
    const timer = setTimeout(killGroup, ms);
    const { signal } = await ended;
    clearTimeout(timer);
    if (signal === null) break; // This machine was done sooner.
  }
  const { code, stdout, stderr } = await fresh.run(["--help"]);
  assert.deepEqual({ code, stdout }, { code: 0, stdout: "main ran\n" }, stderr);
  const leftovers = (await readdir(join(fresh.root, ".cache"))).filter((name) => name !== "setup.lock");
  assert.deepEqual(leftovers, []);
});

test("a machine whose Node.js is too old gets one, also after a set-up killed in the middle", {
  timeout: 300_000,
}, async () => {
  await using fresh = await Checkout.make(MAIN);
  const PATH = await fresh.pathWithout("node", "npm", "npx");
  await writeFile(join(PATH, "node"), "#!/bin/sh\necho 18\n", { mode: 0o755 });
  for (const ms of [300, 1500]) {
    const { ended, killGroup } = fresh.start(["--help"], { env: { PATH } });
    const timer = setTimeout(killGroup, ms);
    await ended;
    clearTimeout(timer);
  }
  const { code, stdout, stderr } = await fresh.run(["--help"], { env: { PATH } });
  assert.deepEqual({ code, stdout }, { code: 0, stdout: "main ran\n" }, stderr);
  assert.match(stderr, /Node.js 24/);
  const runtime = join(fresh.folder, "home/.local/share/kiln/runtime");
  const found = (await readdir(runtime)).filter((name) => name !== "node" && name !== "setup.lock");
  assert.equal(found.length, 1, `${found}`);
});

test("half a node_modules is replaced", { timeout: 120_000 }, async () => {
  await using fresh = await Checkout.make(MAIN);
  await mkdir(join(fresh.root, "node_modules/zod"), { recursive: true });
  await writeFile(join(fresh.root, "node_modules/zod/package.json"), "{");
  const { code, stdout, stderr } = await fresh.run(["--help"]);
  assert.deepEqual({ code, stdout }, { code: 0, stdout: "main ran\n" }, stderr);
});
