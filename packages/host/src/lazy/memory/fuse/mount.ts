import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";

/**
 * Mounts the FUSE file system behind the open /dev/fuse `fd`. Others may use it: VMs run as users of their own, and only those see it
 * that have it in their view.
 * @throws Error with mount's words, where this user may not mount.
 */
export async function mountFuse(fd: number, directory: string): Promise<void> {
  await unmountFuse(directory);
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const options =
    "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,nosuid,nodev,noexec";
  const child = spawn("mount", ["-i", "-t", "fuse", "-o", options, "kiln", directory], {
    stdio: ["ignore", "ignore", "pipe", fd],
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(said.trim() || `mount ended with ${String(code)}`);
}

/**
 * Takes away what an earlier server has mounted. `-f`: a server that was killed while the kernel held it up, in a call that only its own answer
 * would end, ends with that; and whoever waits for one that is gone.
 */
export async function unmountFuse(directory: string): Promise<void> {
  for (const how of ["-f", "-l"])
    await promisify(execFile)("umount", [how, directory]).catch(() => undefined);
}
