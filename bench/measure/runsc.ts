import { execFile } from "node:child_process";
import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { BenchContext } from "../context.ts";
import { runTool } from "../floor/floor-disk.ts";
import { timeCommand } from "./command.ts";
import type { Measure } from "./interleave.ts";

/** gVisor's ways to run a guest's code: the first that works is taken. */
const PLATFORMS = ["systrap", "kvm", "ptrace"];
const HOW_TO_INSTALL = "apt-get install runsc (Debian), or a release of gVisor in PATH";
const TRY_TIMEOUT_MS = 20_000;

/** An OCI bundle's configuration: one program on a read-only root. */
const BUNDLE = {
  ociVersion: "1.0.0",
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: ["echo", "hi"],
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    cwd: "/",
  },
  root: { path: "rootfs", readonly: true },
  hostname: "peer",
  mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
  linux: { namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }] },
};

async function findRunsc(): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, "runsc");
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== "" && found) return path;
  }
  return undefined;
}

/** Unpacks the template's rootfs beside the bundle's configuration. */
async function makeBundle(context: BenchContext): Promise<string> {
  const { rootfs } = await context.bootable();
  const bundle = join(await context.folder(), "runsc");
  await mkdir(join(bundle, "rootfs"), { recursive: true });
  await runTool("debugfs", ["-R", `rdump / "${join(bundle, "rootfs")}"`, rootfs.path], context.signal);
  await writeFile(join(bundle, "config.json"), JSON.stringify(BUNDLE));
  return bundle;
}

const runscArguments = (platform: string, bundle: string, id: string): string[] => [
  `--root=${join(bundle, "state")}`,
  `--platform=${platform}`,
  "--network=none",
  "--ignore-cgroups",
  ...(process.getuid?.() === 0 ? [] : ["--rootless"]),
  "run",
  `--bundle=${bundle}`,
  id,
];

/** Why a try failed: runsc's last line, or that it had none. */
function lastWords(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  if ("killed" in error && error.killed) return `nothing was heard for ${TRY_TIMEOUT_MS / 1000} s`;
  const stderr = "stderr" in error ? String(error.stderr) : "";
  return stderr.trim().split("\n").at(-1)?.slice(0, 200) || "it failed without a word";
}

/** The first platform on which the program runs, and why those before did not. */
async function choosePlatform(
  runsc: string,
  bundle: string,
): Promise<{ platform?: string; refused: string[] }> {
  const refused: string[] = [];
  for (const platform of PLATFORMS) {
    try {
      const args = runscArguments(platform, bundle, `try-${platform}`);
      const { stdout } = await promisify(execFile)(runsc, args, {
        timeout: TRY_TIMEOUT_MS,
        killSignal: "SIGKILL",
      });
      if (stdout === "hi\n") return { platform, refused };
      refused.push(`${platform}: it printed ${JSON.stringify(stdout.slice(0, 80))}`);
    } catch (error) {
      refused.push(`${platform}: ${lastWords(error)}`);
    }
  }
  return { refused };
}

/** `runsc run` of echo on the template's root file system, or why it cannot be measured here. */
export type Runsc = { measure: Measure; platform: string; refused: readonly string[] } | { skipped: string };

export async function prepareRunsc(context: BenchContext): Promise<Runsc> {
  const runsc = await findRunsc();
  if (!runsc) return { skipped: `runsc is not installed: ${HOW_TO_INSTALL}` };
  const bundle = await makeBundle(context);
  const { platform, refused } = await choosePlatform(runsc, bundle);
  if (!platform) return { skipped: `runsc runs on no platform here: ${refused.join("; ")}` };
  let next = 0;
  const measure = async () => {
    const args = runscArguments(platform, bundle, `peer-${next++}`);
    const { ms, stdout } = await timeCommand(runsc, args, context.signal);
    if (stdout !== "hi\n") throw new Error(`runsc printed ${JSON.stringify(stdout)}`);
    return ms;
  };
  return { measure, platform, refused };
}
