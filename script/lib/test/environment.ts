import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { podmanStore } from "../../../packages/host/src/build/podman-store.ts";
import { KilnHome } from "../../../packages/host/src/home.ts";

export interface TestEnvironment extends AsyncDisposable {
  env: NodeJS.ProcessEnv;
  /** A folder for the runner's own files, gone at the end. */
  scratch: string;
  /** Reports of guests that said nothing when they were booted: such a boot is tried again, so no test need fail by it. */
  silentBoots: () => Promise<string[]>;
}

/**
 * What all suites of a run share: one KILN_HOME away from the user's, so that the agent, the kernel and the base image
 * are built once, and the tools of the checkout on the PATH. Disposing it removes the data, unless KILN_TEST_HOME
 * asked for it to be kept.
 */
export async function testEnvironment(root: string): Promise<TestEnvironment> {
  const kept = process.env.KILN_TEST_HOME;
  // /tmp is often in memory, too small for images; and the name is short, for there are sockets below it.
  const base = process.env.TMPDIR ? tmpdir() : "/var/tmp";
  const scratch = await mkdtemp(join(base, "kiln-test-"));
  const home = new KilnHome(kept ? resolve(kept) : join(scratch, "home"));
  await mkdir(home.root, { recursive: true });
  return {
    scratch,
    silentBoots: async () => {
      const names = await readdir(join(home.root, "logs")).catch(() => []);
      const reports = names.filter((name) => name.startsWith("boot-"));
      return Promise.all(reports.map((name) => readFile(join(home.root, "logs", name), "utf8")));
    },
    env: {
      ...process.env,
      KILN_HOME: home.root,
      NODE_COMPILE_CACHE: join(scratch, "compile-cache"),
      PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}`,
    },
    [Symbol.asyncDispose]: async () => {
      await rm(podmanStore(home).runroot, { recursive: true, force: true });
      await remove(scratch);
    },
  };
}

/** Removes a folder that may hold what rootless Podman's users own, which only Podman can reach. */
async function remove(folder: string): Promise<void> {
  try {
    // What a suite that was killed has left may still be writing.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  } catch (error) {
    if (process.geteuid?.() === 0) throw error;
    await promisify(execFile)("podman", ["unshare", "rm", "-rf", folder]);
  }
}
