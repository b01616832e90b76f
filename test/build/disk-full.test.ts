/** Builds on a disk that is too small: before, during, and after it has grown. */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ensureKernel } from "@kiln/host/build/kernel.ts";
import { podmanStore } from "@kiln/host/build/podman-store.ts";
import { ensureRootfs } from "@kiln/host/build/rootfs.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { openTestHome } from "../support/home.ts";
import { kiln } from "../support/kiln.ts";
import { containersOf, marker, processesWith, run, scratchOf, smallSpec, storeMounts } from "./support.ts";

const BASE = "docker.io/library/debian:bookworm-slim";
const RESERVE_MIB = 100;
const isRoot = process.getuid?.() === 0;

describe("a disk that is too small", {
  timeout: 300_000,
  skip: isRoot ? false : "mounting a small file system needs root",
}, () => {
  const resources = new AsyncDisposableStack();
  let home: KilnHome;

  const resize = (mib: number) => run("mount", ["-o", `remount,size=${mib}m`, home.root]);
  const build = async (spec: object) => {
    await using host = await SandboxHost.open(home);
    await host.prepareSpec(spec as ReturnType<typeof smallSpec>, { minFreeDiskMib: RESERVE_MIB });
  };
  async function assertNothingLeft(mark: string): Promise<void> {
    assert.deepEqual(await processesWith(mark), []);
    assert.deepEqual(await containersOf(home), []);
    assert.deepEqual(await storeMounts(home), []);
    assert.deepEqual(await scratchOf(home), []);
    assert.deepEqual(await readdir(join(podmanStore(home).root, "work")).catch(() => []), []);
    assert.deepEqual(await readdir(home.runs).catch(() => []), []);
  }

  before(async () => {
    const shared = resources.use(await openTestHome());
    await ensureRootfs(shared, smallSpec("warm")); // Base image and agent are there from here on.
    await ensureKernel(shared);
    const folder = await mkdtemp("/tmp/kiln-full-");
    resources.defer(() => rm(folder, { recursive: true, force: true }));
    await run("mount", ["-t", "tmpfs", "-o", "size=600m", "tmpfs", folder]);
    resources.defer(async () => void (await run("umount", ["--lazy", folder])));
    home = new KilnHome(folder);
    for (const name of ["artifacts", "probes"])
      await cp(join(shared.root, name), join(folder, name), { recursive: true });
    const [from, to] = [podmanStore(shared), podmanStore(home)];
    resources.defer(() => rm(to.runroot, { recursive: true, force: true }));
    const archive = join(folder, "base.tar");
    await mkdir(to.root, { recursive: true });
    await run("podman", ["--root", from.root, "--runroot", from.runroot, "save", "-q", "-o", archive, BASE]);
    const store = ["--root", to.root, "--runroot", to.runroot, "--storage-driver", "overlay"];
    await run("podman", [...store, "load", "-q", "-i", archive]);
    await rm(archive);
    // Podman binds the storage's folder onto itself, which keeps the file system busy.
    resources.defer(
      async () => void (await run("umount", ["--lazy", `${to.root}/overlay`]).catch(() => undefined)),
    );
  });
  after(() => resources.disposeAsync());

  test("a build that may not find its room is not begun, and the command line ends with 6", async () => {
    const mark = marker();
    await assert.rejects(build(smallSpec(mark, { memory_mib: 256, vcpu: 1 })), {
      code: "DISK_FULL",
      message:
        /^the build may take 832 MiB, and 100 MiB have to stay free: the disk of \S+ has \d+ MiB left$/,
    });
    await assertNothingLeft(mark);
    const path = join(home.root, "small.json");
    await writeFile(path, JSON.stringify({ name: "small", memory_mib: 256 }));
    const result = await kiln(["template", "build", path], { home: home.root });
    assert.equal(result.code, 6, result.stderr);
    assert.match(result.stderr, /1024 MiB have to stay free[\s\S]*hint: free some/);
  });

  test("a step that fills the disk is ended in time, and one that fills it at once says so", async () => {
    await resize(1400);
    const mark = marker();
    const filling = {
      memory_mib: 256,
      vcpu: 1,
      setup_commands: [`head -c 1200M /dev/zero > /fill; sleep 60; : ${mark}`],
    };
    await assert.rejects(build(smallSpec(mark, filling)), {
      code: "DISK_FULL",
      message: /^the build was ended: the disk of \S+ has \d+ MiB left, and 100 MiB have to stay free$/,
    });
    await assertNothingLeft(mark);
    const full = smallSpec(mark, { setup_commands: [`head -c 3G /dev/zero > /fill; exit 3; : ${mark}`] });
    await assert.rejects(ensureRootfs(home, full), {
      code: "DISK_FULL",
      message:
        /^step \d+ of \d+ failed with exit code \d+ for want of space: RUN head[\s\S]*No space left on device/,
    });
    await assertNothingLeft(mark);
  });

  test("a step whose layer finds no room says so as well", async () => {
    const mark = marker();
    // Podman has it as files, and has to write it down a second time.
    const twice = smallSpec(mark, { setup_commands: [`head -c 650M /dev/zero > /fill; : ${mark}`] });
    await assert.rejects(ensureRootfs(home, twice), { code: "DISK_FULL" });
    assert.deepEqual(await readdir(join(home.root, "rootfs")).catch(() => []), []);
    await assertNothingLeft(mark);
  });

  test("with room again the next build works", async () => {
    await resize(3000);
    const mark = marker();
    await ensureRootfs(home, smallSpec(mark));
    await assertNothingLeft(mark);
  });
});
