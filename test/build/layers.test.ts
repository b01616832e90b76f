import assert from "node:assert/strict";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openLower } from "@kiln/host/block/disk/lower.ts";
import { readLower } from "@kiln/host/block/disk/read-lower.ts";
import { ensureRootfs, findRootfs, type Rootfs } from "@kiln/host/build/rootfs.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import type { ProgressEvent } from "@kiln/host/progress.ts";
import { removeBuilt } from "@kiln/host/sandbox/built-template.ts";
import type { TemplateSpec } from "@kiln/host/template/spec.ts";
import { completeSpec, saveTemplate } from "@kiln/host/template/templates.ts";
import { openTestHome } from "../support/home.ts";
import { debugfs, marker, run, smallSpec } from "./support.ts";

const MIB = 1024 * 1024;
const mark = marker();
const parentName = `parent-${mark.slice(-8)}`;

let home: KilnHome & AsyncDisposable;
let parentSpec: TemplateSpec;
let parent: Rootfs;

before(async () => {
  home = await openTestHome();
  parentSpec = { ...smallSpec(mark), name: parentName, env: { A: "1", B: "2" } };
  await saveTemplate(home, parentSpec);
  parent = await ensureRootfs(home, parentSpec);
});
after(async () => {
  await rm(home.template(parentName), { force: true });
  await home[Symbol.asyncDispose]();
});

/** Builds a template that starts from the parent; its rootfs, and the instructions that were run and not cached. */
async function build(change: object): Promise<{ spec: TemplateSpec; rootfs: Rootfs; ran: string[] }> {
  const spec = await completeSpec(home, { name: `child-${mark.slice(-8)}`, from: parentName, ...change });
  const rootfs = await ensureRootfs(home, spec);
  return { spec, rootfs, ran: await stepsRun(home, rootfs) };
}

/** The `RUN` steps of a rootfs's build that podman did not take from its cache. */
async function stepsRun({ log }: KilnHome, { key }: Rootfs): Promise<string[]> {
  const text = await readFile(log(`image-${key.slice(0, 16)}`), "utf8");
  const steps = text.split(/^STEP \d+\/\d+: /m).slice(1);
  return steps
    .filter((step) => step.startsWith("RUN ") && !step.includes("--> Using cache"))
    .map((step) => (step.split("\n")[0] ?? "").slice("RUN ".length))
    .filter((step) => !step.startsWith("mkdir -p /dev"));
}

/** The whole image as one file, for tools that know no layers. */
async function flatten(rootfs: Rootfs): Promise<string> {
  const path = join(home.root, `${rootfs.key}.flat`);
  const lower = await openLower({ base: rootfs.path, layers: rootfs.layers, sizeBytes: rootfs.sizeBytes });
  const pieces: Buffer[] = [];
  for (let block = 0; block < rootfs.sizeBytes / 4096; block += 256)
    pieces.push(readLower(lower, block, 256));
  lower.close();
  await writeFile(path, pieces);
  return path;
}

const diskBytes = async (path: string) =>
  Number((await run("du", ["-s", "-B1", path])).stdout.split("\t")[0]);

test("a child that adds 50 MB takes at most 60, and has all of its parent's", async () => {
  const { rootfs } = await build({
    setup_commands: ["head -c 50000000 /dev/urandom > /opt/blob && sha256sum /opt/blob > /opt/sum"],
    env: { B: "3" },
  });
  assert.equal(rootfs.path, parent.path);
  assert.equal(rootfs.layers.length, 1);
  assert.equal(rootfs.record.parent, parent.key);
  const bytes = await diskBytes(home.rootfs(rootfs.key));
  assert(bytes < 60_000_000, `${bytes} bytes`);
  const flat = await flatten(rootfs);
  try {
    await run("e2fsck", ["-fn", flat]);
    assert.equal(await debugfs(flat, "cat /etc/mark"), `${mark}\n`);
    assert.match(await debugfs(flat, "stat /opt/blob"), /Size: 50000000/);
    const config = await debugfs(flat, "cat /etc/kiln/guest.conf");
    assert.match(config, /^env A=1$/m);
    assert.match(config, /^env B=3$/m);
  } finally {
    await rm(flat);
  }
});

test("a parent is not removed from under its children, and children go without it", async () => {
  const { spec, rootfs } = await build({ setup_commands: ["echo child > /etc/child"] });
  const kept = await removeBuilt(home, parentSpec);
  assert.equal(kept.rootfs, undefined);
  assert(kept.sharedWith.includes(spec.name));
  assert.equal((await removeBuilt(home, spec)).rootfs, rootfs.key);
  assert.equal(await findRootfs(home, spec), undefined);
  assert((await stat(parent.path)).isFile());
});

test("a disk of another size is an image of its own", async () => {
  const { rootfs } = await build({ disk_mib: 1536, setup_commands: ["echo child > /etc/child"] });
  assert.equal(rootfs.sizeBytes, 1536 * MIB);
  assert.deepEqual(rootfs.layers, []);
  await run("e2fsck", ["-fn", rootfs.path]);
});

test("changing the last of five commands runs that one only", async () => {
  const commands = [1, 2, 3, 4, 5].map((number) => `echo ${mark} ${number} > /etc/step-${number}`);
  const first = await build({ setup_commands: commands });
  assert.deepEqual(first.ran, commands);
  const changed = [...commands.slice(0, 4), `echo ${mark} other > /etc/step-5`];
  const second = await build({ setup_commands: changed });
  assert.deepEqual(second.ran, changed.slice(4));
});

test("a command that is added runs alone, and a child of a child shares both", async () => {
  const name = `middle-${mark.slice(-8)}`;
  const middle = await build({ name, setup_commands: ["head -c 5000000 /dev/urandom > /opt/middle"] });
  await saveTemplate(home, middle.spec);
  try {
    const events: ProgressEvent[] = [];
    const spec = await completeSpec(home, {
      name: "leaf",
      from: name,
      setup_commands: ["echo leaf > /etc/leaf"],
    });
    const leaf = await ensureRootfs(home, spec, { onProgress: (event) => events.push(event) });
    assert.deepEqual(leaf.layers.length, 2);
    assert.deepEqual(await stepsRun(home, leaf), ["echo leaf > /etc/leaf"]);
    assert(!events.some(({ stage }) => stage === `image ${name}`));
    const bytes = await diskBytes(home.rootfs(leaf.key));
    assert(bytes < 2_000_000, `${bytes} bytes`);
    const flat = await flatten(leaf);
    await run("e2fsck", ["-fn", flat]).finally(() => rm(flat));
  } finally {
    await rm(home.template(name), { force: true });
  }
});
