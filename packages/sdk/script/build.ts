// Makes the package that others install: plain JavaScript with type declarations, for every Node.js from 20 on. In the checkout
// the sources are used as they are.
//
//     node packages/sdk/script/build.ts [FOLDER]     default: packages/sdk/dist; then: npm publish FOLDER
import { execFile } from "node:child_process";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "..");
const target = resolve(process.argv[2] ?? join(root, "dist"));
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");

await rm(target, { recursive: true, force: true });
await promisify(execFile)(process.execPath, [
  compiler,
  "-p",
  join(root, "tsconfig.build.json"),
  "--outDir",
  target,
]);
const {
  private: _,
  scripts: __,
  ...manifest
} = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const published = { ...manifest, exports: { ".": { types: "./index.d.ts", default: "./index.js" } } };
await writeFile(join(target, "package.json"), `${JSON.stringify(published, undefined, 2)}\n`);
for (const name of ["README.md", "LICENSE"]) {
  await copyFile(join(name === "LICENSE" ? join(root, "../..") : root, name), join(target, name));
}
