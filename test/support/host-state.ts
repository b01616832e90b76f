import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { firecrackerFolders } from "@kiln/host/vmm/firecracker/find.ts";
import { leftNodes } from "@kiln/host/vmm/firecracker/nbd/left-slots.ts";
import { listSlots } from "@kiln/host/vmm/firecracker/nbd/list-slots.ts";
import { listCgroups } from "@kiln/host/vmm/jail/cgroups.ts";
import { leftovers } from "./leftovers.ts";

const LOOK_AGAIN_MS = 200;

/**
 * All that the host has of a home, a line each: NBD slots, device nodes, control groups, VMMs and other processes (the link of a Firecracker's
 * guest is one: its namespace and its tap go with it), mounts, folders and sockets. Without the numbers that differ each time.
 */
export async function hostState(home: string): Promise<string[]> {
  const below = (path: string | undefined) => path?.startsWith(`${home}/`) === true;
  const names = async (folder: string) => readdir(join(home, folder)).catch(() => []);
  const sockets = async (folder: string) =>
    (await readdir(join(home, folder), { withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isSocket())
      .map(({ name }) => `socket ${join(folder, name)}`);
  const lines = [
    ...(await listSlots())
      .filter(({ directory }) => below(directory))
      .map(({ number }) => `slot nbd${number}`),
    ...(await leftNodes()).map((name) => `node ${name}`),
    ...(await listCgroups()).filter(({ directory }) => below(directory)).map(({ group }) => `group ${group}`),
    ...[...(await firecrackerFolders())].filter(below).map((folder) => `firecracker ${folder}`),
    ...(await leftovers(home, 0)).map((line) => line.replace(/^process \d+:/, "process")),
    ...(
      await Promise.all(
        ["sandboxes", "layers", "saved"].map(async (folder) =>
          (await names(folder)).map((name) => `${folder}/${name}`),
        ),
      )
    ).flat(),
    ...(await Promise.all(["", "block", "net"].map(sockets))).flat(),
  ];
  return lines.sort();
}

/** What is there beyond `before`, and what is no longer there, when that has had time to pass. */
export async function changes(
  home: string,
  before: readonly string[],
  patienceMs: number,
): Promise<string[]> {
  const deadline = performance.now() + patienceMs;
  while (true) {
    const now = await hostState(home);
    const different = [
      ...without(now, before).map((line) => `+ ${line}`),
      ...without(before, now).map((line) => `- ${line}`),
    ];
    if (different.length === 0 || performance.now() > deadline) return different;
    await delay(LOOK_AGAIN_MS);
  }
}

/** The lines of `all` that are not in `taken`, each as often as it is there more. */
function without(all: readonly string[], taken: readonly string[]): string[] {
  const rest = [...taken];
  return all.filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}
