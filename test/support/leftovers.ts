import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { TEST_MARK } from "./kiln.ts";

/** Names and command lines of the processes that tests' CLIs started, or that were given a path in `home`, by pid. */
export async function processesOf(home: string): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, "latin1").catch(() => "");
    const [command, environment] = [await read("cmdline"), await read("environ")];
    const owned = command.includes(`${home}/`) || environment.includes(TEST_MARK);
    const name = (await read("comm")).trim();
    if (owned && command !== "") found.set(pid, `${name}: ${command.replaceAll("\0", " ").slice(0, 200)}`);
  }
  return found;
}

/** Mount points below `home`. */
async function mountsOf(home: string): Promise<string[]> {
  const text = await readFile("/proc/self/mountinfo", "utf8");
  return text.split("\n").filter((line) => line.split(" ")[4]?.startsWith(`${home}/`));
}

/**
 * What is left of Kiln in `home` when nothing of it should run: processes, mounts, and names in `run/` and `tmp/`. Waits up to
 * `patienceMs` for it to go.
 */
export async function leftovers(home: string, patienceMs = 10_000): Promise<string[]> {
  const deadline = performance.now() + patienceMs;
  while (true) {
    const names = await Promise.all(
      ["run", "tmp"].map(async (folder) =>
        (await readdir(join(home, folder)).catch(() => [])).map((name) => `${folder}/${name}`),
      ),
    );
    const processes = [...(await processesOf(home))].map(([pid, command]) => `process ${pid}: ${command}`);
    const left = [...processes, ...(await mountsOf(home)), ...names.flat()];
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(100);
  }
}
