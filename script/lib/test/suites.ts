import { glob } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/** A part of the tests with a name of its own. */
export interface Suite {
  name: string;
  /** Killed after this many minutes. */
  minutes: number;
  /** A single file of tests is killed after this many, and the others go on. */
  fileMinutes: number;
  /** It uses nothing of the home that the others share, or nothing that they would notice: it runs beside them. */
  beside?: boolean;
  kind:
    | { type: "node"; files: string[] }
    /** Each command is one test. */
    | { type: "commands"; commands: string[][] }
    | { type: "agent" }
    | { type: "python" };
}

const BESIDE = new Set(["guest", "launcher", "migration", "nbd"]);

/**
 * The suites of the checkout at `root`, found by where tests lie: `*.test.ts` beside the code are `unit`, those in
 * `test/NAME/` are the suite NAME. Sorted so that the cheap ones come first.
 */
export async function findSuites(root: string): Promise<Suite[]> {
  const unit = await find(root, [
    "packages/*/src/**/*.test.ts",
    "script/lib/**/*.test.ts",
    "bench/**/*.test.ts",
  ]);
  const suites: Suite[] = [
    {
      name: "lint",
      minutes: 10,
      fileMinutes: 5,
      beside: true,
      kind: { type: "commands", commands: await lintCommands(root) },
    },
    {
      name: "types",
      minutes: 10,
      fileMinutes: 5,
      beside: true,
      kind: { type: "commands", commands: [["tsc", "-p", "tsconfig.json"]] },
    },
    { name: "unit", minutes: 15, fileMinutes: 3, beside: true, kind: { type: "node", files: unit } },
  ];
  if ((await find(root, ["agent/Containerfile"])).length > 0) {
    // Behind those that build nothing: the base image is there by then, or the first of the others is making it.
    suites.push({ name: "agent", minutes: 20, fileMinutes: 10, beside: true, kind: { type: "agent" } });
  }
  if ((await find(root, ["python/pyproject.toml"])).length > 0) {
    suites.push({ name: "python", minutes: 20, fileMinutes: 20, kind: { type: "python" } });
  }
  const byName = Map.groupBy(await find(root, ["test/*/**/*.test.ts"]), (file) => suiteOf(root, file));
  for (const [name, files] of byName) {
    const kind = { type: "node" as const, files };
    suites.push({ name, minutes: 20, fileMinutes: 10, beside: BESIDE.has(name), kind });
  }
  return suites;
}

async function lintCommands(root: string): Promise<string[][]> {
  const tools = "packages/host/src/template/tools/*.sh";
  const shell = await find(root, ["bin/*", ".ci/*", "script/*", "script/lib/*", "script/lib/**/*.sh", tools]);
  const scripts = shell.filter((file) => !/[.](ts|mjs)$/.test(file));
  return [
    ["biome", "ci", "--error-on-warnings", `--colors=${process.stdout.isTTY ? "force" : "off"}`, "."],
    ["depcruise", "--config", ".dependency-cruiser.js", "--output-type", "err", "packages"],
    ["shellcheck", "--external-sources", ...scripts],
  ];
}

const suiteOf = (root: string, file: string) =>
  relative(join(root, "test"), dirname(file)).split("/")[0] ?? "";

async function find(root: string, patterns: string[]): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of glob(patterns, { cwd: root, withFileTypes: true })) {
    if (entry.isFile() && !entry.parentPath.includes("node_modules"))
      files.push(join(entry.parentPath, entry.name));
  }
  return files.sort();
}
