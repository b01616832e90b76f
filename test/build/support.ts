import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { podmanStore } from "@kiln/host/build/podman-store.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { parseTemplateSpec } from "@kiln/host/template/parse-spec.ts";
import type { TemplateSpec, TemplateSpecInput } from "@kiln/host/template/spec.ts";

export const run = promisify(execFile);

/** A word that is in no other build and in no file of the machine. */
export const marker = () => `kiln-test-${randomBytes(8).toString("hex")}`;

/** A spec without packages, so that its build takes a second; `mark` makes it unlike any built before. */
export function smallSpec(mark: string, change: Partial<TemplateSpecInput> = {}): TemplateSpec {
  return parseTemplateSpec({
    name: "small",
    disk_mib: 1024,
    ...change,
    setup_commands: [`echo ${mark} > /etc/mark`, ...(change.setup_commands ?? [])],
  });
}

/** Those of `words` that are anywhere in the bytes of `path`. */
export async function wordsIn(path: string, words: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  let end = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) {
    const window = Buffer.concat([end, chunk]);
    for (const word of words) if (window.includes(word)) found.add(word);
    end = Buffer.from(window.subarray(-64)); // A word may lie across two chunks.
  }
  return [...found];
}

/** Runs one debugfs command on an image; what it prints. */
export async function debugfs(image: string, command: string): Promise<string> {
  return (await run("debugfs", ["-R", command, image], { maxBuffer: 64 * 1024 * 1024 })).stdout;
}

/** Ids of the containers in Kiln's storage, working containers of builds included. */
export async function containersOf(home: KilnHome): Promise<string[]> {
  const { root, runroot } = podmanStore(home);
  const { stdout } = await run("podman", ["--root", root, "--runroot", runroot, "ps", "-aq", "--external"]);
  return stdout.split("\n").filter((line) => line !== "");
}

/** Pids of the processes whose command line has `word`, this one not counted. */
export async function processesWith(word: string): Promise<number[]> {
  const pids = (await readdir("/proc"))
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid);
  const found = await Promise.all(
    pids.map(async (pid) =>
      (await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")).includes(word) ? pid : undefined,
    ),
  );
  return found.filter((pid) => pid !== undefined);
}

/** Mounts below the home's container storage. Podman binds the storage's own folder onto itself; that one stays. */
export async function storeMounts(home: KilnHome): Promise<string[]> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  return mounts
    .split("\n")
    .filter((line) => line.split(" ")[4]?.startsWith(`${podmanStore(home).root}/overlay/`));
}

/** Names in the home's folder of half-made things. */
export const scratchOf = (home: KilnHome) => readdir(join(home.root, "tmp")).catch((): string[] => []);
