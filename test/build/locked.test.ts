import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { makeLock } from "@kiln/host/build/inventory/lock.ts";
import { readPackages } from "@kiln/host/build/inventory/packages-file.ts";
import { podmanStore } from "@kiln/host/build/podman-store.ts";
import { ensureRootfs, type Rootfs } from "@kiln/host/build/rootfs.ts";
import { ensureSources } from "@kiln/host/build/sources/ensure-sources.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { removeBuilt } from "@kiln/host/sandbox/built-template.ts";
import { baseTag } from "@kiln/host/template/containerfile.ts";
import type { Lock } from "@kiln/host/template/lock.ts";
import { openTestHome } from "../support/home.ts";
import { marker, run, smallSpec } from "./support.ts";

const mark = marker();
const spec = smallSpec(mark, {
  apt_packages: ["python3-pip"],
  setup_commands: ["pip install --break-system-packages --root-user-action=ignore six"],
  user: "dev",
});

let home: KilnHome & AsyncDisposable;
let first: Rootfs;
let lock: Lock;
before(async () => {
  home = await openTestHome();
  first = await ensureRootfs(home, spec);
  lock = makeLock(spec.name, first.record, (await readPackages(home, first.key)).packages);
});
after(() => home[Symbol.asyncDispose]());

/** Removes what was built, and podman's cache of its steps. */
async function forget(rootfs: Rootfs): Promise<void> {
  await removeBuilt(home, rootfs.spec);
  const { root, runroot } = podmanStore(home);
  const podman = (...words: string[]) => run("podman", ["--root", root, "--runroot", runroot, ...words]);
  const sources = await ensureSources(home);
  const tags = [`localhost/kiln:${rootfs.key.slice(0, 32)}`, baseTag(rootfs.spec, sources)];
  await podman("rmi", "--force", ...tags);
  await podman("image", "prune", "--force");
}

test("a lock names every package", () => {
  assert(lock.deb.some((word) => word.startsWith("python3-pip=")));
  assert(lock.deb.some((word) => word.startsWith("libc6=")));
  assert(lock.pypi.some((word) => word.startsWith("six==")));
});

test("built twice from nothing, the same lock gives the same bytes", { timeout: 900_000 }, async () => {
  const once = await ensureRootfs(home, { ...spec, lock });
  assert.notEqual(once.key, first.key);
  await forget(once);
  const twice = await ensureRootfs(home, { ...spec, lock });
  assert.notEqual(twice.record.built_at, once.record.built_at);
  assert.equal(twice.record.digest, once.record.digest);
});

test("a version that is no longer to be had is named", async () => {
  const deb = lock.deb.map((word) => word.replace(/^python3-pip=.*/, "python3-pip=0.0.1-1"));
  await assert.rejects(ensureRootfs(home, { ...spec, lock: { ...lock, deb } }), {
    code: "BUILD_FAILED",
    message: /no longer to be had: python3-pip=0\.0\.1-1/,
  });
});

test("what the lock does not name is no part of the build", async () => {
  const pypi = lock.pypi.filter((word) => !word.startsWith("six=="));
  await assert.rejects(ensureRootfs(home, { ...spec, lock: { ...lock, pypi } }), {
    code: "BUILD_FAILED",
    message: /has what its lock does not: six==/,
  });
});
