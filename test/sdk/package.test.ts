import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");

describe("the package others install", { timeout: 120_000 }, () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-package-"));
    const target = join(folder, "node_modules/@kiln/sdk");
    await mkdir(join(folder, "node_modules/@kiln"), { recursive: true });
    const build = join(ROOT, "packages/sdk/script/build.ts");
    await run(process.execPath, ["--disable-warning=ExperimentalWarning", build, target]);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("is plain JavaScript", async () => {
    const script = `
      import { KilnClient, KilnError } from "@kiln/sdk";
      const client = new KilnClient({ url: "unix:${join(folder, "none.sock")}" });
      const error = await client.get("abc").catch((error) => error);
      console.log(error instanceof KilnError, error.code, error.request);`;
    await writeFile(join(folder, "plain.mjs"), script);
    const { stdout } = await run(process.execPath, ["--no-experimental-strip-types", "plain.mjs"], {
      cwd: folder,
    });
    assert.equal(stdout, "true UNREACHABLE GET /v1/sandboxes/abc\n");
  });

  test("has types that a strict compiler takes, and that refuse what is wrong", async () => {
    const program = (option: string) => `
      import { KilnClient, type ExecResult } from "@kiln/sdk";
      export async function main(): Promise<number> {
        await using sandbox = await new KilnClient().sandbox({ image: "python", ${option} });
        const text: ExecResult = await sandbox.exec(["true"]);
        const bytes: Uint8Array = (await sandbox.exec(["true"], { encoding: "bytes" })).stdout;
        return text.stdout.length + bytes.length;
      }`;
    await writeFile(join(folder, "package.json"), '{"type": "module"}');
    await writeFile(join(folder, "right.ts"), program("memoryMib: 512"));
    await writeFile(join(folder, "wrong.ts"), program('memoryMib: "lots"'));
    const compile = (file: string) => {
      const words = [
        "--noEmit",
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--skipLibCheck",
        "false",
      ];
      const roots = ["--types", "node", "--typeRoots", join(ROOT, "node_modules/@types")];
      const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
      const rest = ["--lib", "es2022,esnext.disposable", "--ignoreConfig", file];
      return run(process.execPath, [compiler, ...words, ...roots, ...rest], { cwd: folder });
    };
    await compile("right.ts");
    await assert.rejects(compile("wrong.ts"), (error: { stdout?: string }) =>
      /memoryMib|string/.test(error.stdout ?? ""),
    );
  });
});
