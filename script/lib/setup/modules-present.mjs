// node modules-present.mjs ROOT production|all
// Exits 0 when ROOT/node_modules holds what ROOT/package-lock.json asks for, however it got there. Plain
// JavaScript: it runs before the npm packages are there.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [root, mode] = process.argv.slice(2);

/** The `packages` table of a lock file, version 2 or newer; undefined where there is no such file. */
function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

const wanted = packagesOf(join(root, "package-lock.json"));
// npm writes this one last: an interrupted npm leaves none.
const installed = packagesOf(join(root, "node_modules/.package-lock.json"));
if (!wanted || !installed) process.exit(1);

for (const [path, entry] of Object.entries(wanted)) {
  const isInstalledPackage = path.includes("node_modules/");
  // Optional packages are those of other platforms, for the most part.
  if (!isInstalledPackage || entry.optional || (mode !== "all" && (entry.dev || entry.devOptional))) continue;
  const found = installed[path];
  if (!found || found.version !== entry.version || found.integrity !== entry.integrity) process.exit(1);
}
