import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KilnHome } from "@kiln/host/home.ts";

/**
 * The home that tests with VMs use: the one `KILN_HOME` names, so that the suites of a run build things once, else a
 * fresh one that is removed at the end.
 */
export async function openTestHome(): Promise<KilnHome & AsyncDisposable> {
  if (process.env.KILN_HOME) {
    return Object.assign(KilnHome.fromEnvironment(), { [Symbol.asyncDispose]: async () => undefined });
  }
  const root = await mkdtemp(join(tmpdir(), "kiln-test-"));
  return Object.assign(new KilnHome(root), {
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  });
}
