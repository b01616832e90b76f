/**
 * Fills a folder with what the KVM bench is given: this checkout, without types and development's packages, as `kiln`, and a home with the
 * kernel, the agent and the root file systems of templates as `kh`.
 *
 *     node script/lib/kvm-bench/pack.ts FOLDER TEMPLATE ...
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { findRootfs } from "../../../packages/host/src/build/rootfs.ts";
import { KilnHome } from "../../../packages/host/src/home.ts";
import { writtenSpec } from "../../../packages/host/src/template/lineage.ts";
import { resolveTemplate } from "../../../packages/host/src/template/templates.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");
/** What runs in the bench, or is looked at to find what was built. */
const SOURCES = ["agent", "bench", "packages", "proto", "script/lib", "templates", "test", "package.json"];
/** Memory of a lean template, in MiB. */
const LEAN_MIB = 192;

const [folder, ...templates] = process.argv.slice(2);
if (folder === undefined || templates.length === 0) throw new Error("usage: pack.ts FOLDER TEMPLATE ...");
await packSources(join(folder, "kiln"));
await packPackages(join(folder, "kiln"));
await packHome(join(folder, "kh"));
await packSpecs(join(folder, "kiln"));

async function packSources(target: string): Promise<void> {
  const flags = [
    "ls-files",
    "--cached",
    "--others",
    "--exclude-standard",
    "-z",
    "--deduplicate",
    "--",
    ...SOURCES,
  ];
  const { stdout } = await run("git", flags, { cwd: root, maxBuffer: 16 * 1024 * 1024 });
  for (const name of stdout.split("\0").filter(Boolean)) {
    const [from, to] = [join(root, name), join(target, name)];
    await mkdir(dirname(to), { recursive: true });
    if (name.endsWith(".ts")) await writeFile(to, stripTypeScriptTypes(await readFile(from, "utf8")));
    else await cp(from, to);
  }
}

async function packPackages(target: string): Promise<void> {
  const { stdout } = await run("npm", ["ls", "--omit=dev", "--all", "--parseable"], { cwd: root });
  const names = stdout
    .split("\n")
    .map((path) => relative(root, path))
    .filter((name) => name.startsWith("node_modules/") && !name.includes("/@aws-sdk/"));
  for (const name of [...new Set(names), "node_modules/@kiln"]) {
    await cp(join(root, name), join(target, name), { recursive: true, verbatimSymlinks: true });
  }
}

/** Each template once more as `bench-NAME.json`: the same root file system, a small machine and no checks, which take minutes there. */
async function packSpecs(target: string): Promise<void> {
  for (const name of templates) {
    const { checks: _, ...spec } = writtenSpec(await resolveTemplate(KilnHome.fromEnvironment(), name));
    const lean = { ...spec, name: `bench-${name}`, vcpu: 1, memory_mib: LEAN_MIB };
    await writeFile(join(target, `bench-${name}.json`), JSON.stringify(lean));
  }
}

async function packHome(target: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const wanted = new Set(["artifacts", "probes/sources.json"]);
  for (const name of templates) {
    const rootfs = await findRootfs(home, await resolveTemplate(home, name));
    if (!rootfs) throw new Error(`${name} is not built`);
    for (const path of [dirname(rootfs.path), ...rootfs.layers]) {
      wanted.add(relative(home.root, path).split("/").slice(0, 2).join("/"));
    }
  }
  for (const name of wanted) {
    await mkdir(dirname(join(target, name)), { recursive: true });
    await run("cp", ["-a", "--sparse=always", join(home.root, name), join(target, name)]);
  }
}
