import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BASE_IMAGE } from "../../packages/host/src/build/artifact-base.ts";
import type { BuildOptions } from "../../packages/host/src/build/build-options.ts";
import { openBuildSession } from "../../packages/host/src/build/build-session.ts";
import { buildContainer } from "../../packages/host/src/build/container-build.ts";
import type { KilnHome } from "../../packages/host/src/home.ts";

/** Compiles the floor's agent in a container of Kiln's base image; returns the path of the executable in `folder`. */
export async function buildFloorAgent(
  home: KilnHome,
  folder: string,
  options: BuildOptions,
): Promise<string> {
  await using session = await openBuildSession(home, BASE_IMAGE, options);
  const output = join(folder, "agent-build");
  await buildContainer(session.store, {
    containerfile: await readFile(join(import.meta.dirname, "Containerfile"), "utf8"),
    context: import.meta.dirname,
    buildArgs: { BASE: BASE_IMAGE },
    target: "artifact",
    outputFolder: output,
    flags: session.flags,
    tmpdir: session.tmpdir,
    logPath: home.log("floor-agent"),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return join(output, "agent");
}
