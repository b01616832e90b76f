import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureAgent } from "@kiln/host/build/agent.ts";
import { BASE_IMAGE } from "@kiln/host/build/artifact-base.ts";
import { ensureKernel } from "@kiln/host/build/kernel.ts";
import { runPodman } from "@kiln/host/build/podman.ts";
import { podmanStore } from "@kiln/host/build/podman-store.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { openTestHome } from "../support/home.ts";

export const run = promisify(execFile);

/**
 * A home that nothing but a test collects in, with what takes minutes to make taken from the home of all tests: kernel, agent, what was
 * found out about the host, and the base image.
 */
export async function openDiskHome(): Promise<KilnHome & AsyncDisposable> {
  await using shared = await openTestHome();
  await ensureKernel(shared);
  await ensureAgent(shared);
  // Not in /tmp, which is often in memory; and short, for there are sockets below it.
  const root = await mkdtemp("/var/tmp/kiln-disk-");
  const home = new KilnHome(root);
  await using failed = new AsyncDisposableStack();
  const remove = async () => {
    await rm(podmanStore(home).runroot, { recursive: true, force: true });
    await rm(root, { recursive: true, force: true }).catch(() =>
      run("podman", ["unshare", "rm", "-rf", root]),
    );
  };
  failed.defer(remove);
  for (const name of ["artifacts", "probes", "config.json"]) {
    await cp(join(shared.root, name), join(root, name), { recursive: true }).catch(() => undefined);
  }
  const archive = join(root, "base.tar");
  await runPodman(podmanStore(shared), ["save", "--quiet", "--output", archive, BASE_IMAGE]);
  await runPodman(podmanStore(home), ["load", "--quiet", "--input", archive]);
  await rm(archive);
  failed.move();
  return Object.assign(home, { [Symbol.asyncDispose]: remove });
}

/** What du(1) says of a folder, in bytes. */
export async function du(path: string): Promise<number> {
  const { stdout } = await run("du", ["--summarize", "--block-size=1", path]);
  return Number.parseInt(stdout, 10);
}
