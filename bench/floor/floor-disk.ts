import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { KilnError } from "../../packages/host/src/errors.ts";

const TOOL_TIMEOUT_MS = 120_000;
const execute = promisify(execFile);

/** Runs a tool to its end; its output is of no interest unless it fails. */
export async function runTool(command: string, args: readonly string[], signal?: AbortSignal): Promise<void> {
  try {
    await execute(command, args, { timeout: TOOL_TIMEOUT_MS, ...(signal ? { signal } : {}) });
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError("HOST_UNSUPPORTED", `the benchmark needs ${command}: ${reason}`, { cause });
  }
}

/**
 * A copy of the template's rootfs with the floor's agent in place of Kiln's: everything else in the guest is the same.
 * @returns the path of the copy, a sparse raw image in `folder`.
 */
export async function makeFloorDisk(
  rootfs: string,
  agent: string,
  folder: string,
  signal?: AbortSignal,
): Promise<string> {
  const image = join(folder, "rootfs.ext4");
  await runTool("cp", ["--sparse=always", "--reflink=auto", "--", rootfs, image], signal);
  const script = join(folder, "debugfs.script");
  const check = join(folder, "agent.check");
  const commands = [
    // debugfs does not enter a symlink, which /sbin is on a merged /usr: the second is refused there.
    "cd /usr/sbin",
    "cd /sbin",
    "rm agent",
    `write "${agent}" agent`,
    "set_inode_field agent mode 0100755",
    `dump /sbin/agent "${check}"`,
  ];
  await writeFile(script, `${commands.join("\n")}\n`);
  await runTool("debugfs", ["-w", "-f", script, image], signal);
  // debugfs ends with 0 whatever happened.
  const [wanted, found] = await Promise.all([readFile(agent), readFile(check).catch(() => undefined)]);
  if (!found?.equals(wanted))
    throw new KilnError("IMAGE_INVALID", "debugfs could not put the floor's agent into the rootfs");
  return image;
}
