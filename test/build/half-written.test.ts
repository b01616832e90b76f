import assert from "node:assert/strict";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { inspectImage } from "@kiln/host/build/image-config.ts";
import { runPodman, tryPodman } from "@kiln/host/build/podman.ts";
import { type PodmanStore, podmanStore } from "@kiln/host/build/podman-store.ts";
import { withStorageDriver } from "@kiln/host/build/storage-driver.ts";
import { openQuietStore } from "@kiln/host/build/stored-images.ts";
import { KilnError } from "@kiln/host/errors.ts";
import { KilnHome } from "@kiln/host/home.ts";

let home: KilnHome;
let store: PodmanStore;
let below: string;
let above: string;

before(async () => {
  home = new KilnHome(await mkdtemp("/var/tmp/kiln-half-"));
  store = await withStorageDriver(podmanStore(home));
  below = await build("below", "FROM scratch\nCOPY file /one\n");
  above = await build("above", `FROM ${below}\nCOPY file /two\n`);
});
after(async () => {
  await tryPodman(store, ["rmi", "--all", "--force"]);
  await rm(home.root, { recursive: true });
  await rm(store.runroot, { recursive: true, force: true });
});

async function build(name: string, containerfile: string): Promise<string> {
  await writeFile(join(home.root, "Containerfile"), containerfile);
  await writeFile(join(home.root, "file"), name);
  const file = join(home.root, "Containerfile");
  const flags = ["--isolation=chroot", "--network=host", "--layers", "--pull=never", "--quiet"];
  return (await runPodman(store, ["build", ...flags, `--file=${file}`, home.root])).stdout.trim();
}

const manifestOf = (image: string) => join(store.root, `${store.driver ?? "vfs"}-images`, image, "manifest");

test("an image is looked at though what it is made on is being written", async () => {
  await rename(manifestOf(below), join(home.root, "manifest"));
  const inspecting = inspectImage(store, above);
  assert.equal(await Promise.race([inspecting.then(() => "read"), delay(1_500, "waits")]), "waits");
  await rename(join(home.root, "manifest"), manifestOf(below));
  assert.equal((await inspecting).id, above);
});

test("what a killed build has half written goes, and is in nobody's way", async () => {
  await rm(manifestOf(below));
  const quiet = await openQuietStore(home);
  assert.ok(typeof quiet === "object");
  await quiet[Symbol.asyncDispose]();
  assert.deepEqual(
    quiet.images.map(({ id }) => id),
    [above],
  );
  assert.equal((await inspectImage(store, above)).id, above);
});

test("waiting for it can be cancelled", async () => {
  await rename(manifestOf(above), join(home.root, "manifest"));
  const cancel = AbortSignal.timeout(500);
  const began = performance.now();
  await assert.rejects(
    inspectImage(store, above, cancel),
    (error) => error === cancel.reason || (error instanceof KilnError && error.code === "CANCELLED"),
  );
  assert.ok(performance.now() - began < 5_000, "it went on for as long as it would have");
  await rename(join(home.root, "manifest"), manifestOf(above));
});
