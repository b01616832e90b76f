import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * A Python environment with what python/requirements-test.txt names, made once for each version of that file, beside the
 * checkout's other caches.
 *
 * @returns the folder of its programs.
 * @throws what `python3 -m venv` or pip said when they failed.
 */
export async function pythonEnvironment(root: string): Promise<string> {
  const requirements = join(root, "python/requirements-test.txt");
  const key = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex")
    .slice(0, 16);
  const cache = join(root, ".cache");
  const name = `python-${key}`;
  const folder = join(cache, name);
  const whole = join(folder, "whole");
  const isThere = await access(whole).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    await mkdir(cache, { recursive: true });
    for (const old of await readdir(cache)) {
      if (old.startsWith("python-")) await rm(join(cache, old), { recursive: true, force: true });
    }
    await run("python3", ["-m", "venv", folder]);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    await run(join(folder, "bin/python"), [...pip, "--requirement", requirements]);
    await writeFile(whole, "");
  }
  return join(folder, "bin");
}
