import { builtRootfs } from "@kiln/host/build/built-rootfs.ts";
import { diffRootfs, type FileDifference } from "@kiln/host/build/inventory/diff.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { Uses } from "@kiln/host/os/in-use.ts";
import { formatBytes, printJson, printTable } from "../output/table.ts";

/** Files that are named one by one; those whose size differs most come first. */
const FILES_SHOWN = 30;

/** Shows what differs between two built templates. */
export async function diff(refA: string, refB: string, json: boolean): Promise<void> {
  const home = KilnHome.fromEnvironment();
  await using uses = new Uses(home);
  const find = (ref: string) =>
    uses.keep(
      () => builtRootfs(home, ref),
      ({ key }) => [home.rootfs(key)],
    );
  const [a, b] = [await find(refA), await find(refB)];
  const found = await diffRootfs(home, a, b);
  if (json) {
    printJson(found);
    return;
  }
  const { packages, files, used, inodes } = found;
  printTable(
    [refA, refB, "what"],
    [
      [formatBytes(used.a), formatBytes(used.b), "disk"],
      [String(inodes.a), String(inodes.b), "inodes"],
      ...packages.map((entry) => [entry.a ?? "-", entry.b ?? "-", `${entry.type} ${entry.name}`]),
      ...files
        .toSorted((left, right) => change(right) - change(left))
        .slice(0, FILES_SHOWN)
        .map(({ path, ...size }) => [show(size.a), show(size.b), path]),
    ],
  );
  if (files.length > FILES_SHOWN) {
    process.stdout.write(`and ${files.length - FILES_SHOWN} more files: --json lists them all\n`);
  }
}

const change = ({ a = 0, b = 0 }: FileDifference) => Math.abs(a - b);
const show = (bytes: number | undefined) => (bytes === undefined ? "-" : formatBytes(bytes));
