import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { lastLines, runPodman, tryPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** How `RUN` steps are isolated and reach the network, best first. */
const STRATEGIES = [
  { name: "default", flags: [] },
  { name: "host-network", flags: ["--network=host"] },
  // Where crun cannot run: hybrid cgroups, a refused setrlimit, containers inside containers.
  { name: "chroot", flags: ["--isolation=chroot", "--network=host"] },
] as const;
const STEP_LIMIT_MS = 60_000;

const recordSchema = z.strictObject({
  version: z.literal(1),
  podman: z.string(),
  strategy: z.enum(STRATEGIES.map(({ name }) => name)),
  /** Why the better ones were not taken. */
  refused: z.array(z.strictObject({ strategy: z.string(), reason: z.string() })),
});
export type BuildStrategyRecord = z.infer<typeof recordSchema>;

export interface BuildStrategy {
  record: BuildStrategyRecord;
  /** Flags for `podman build`. */
  flags: readonly string[];
}

/**
 * The first strategy with which a step runs here, found by running one, and remembered in probes/podman.json until
 * podman's version changes.
 *
 * @param baseImage an image already in the storage that has /bin/sh.
 * @throws KilnError `HOST_UNSUPPORTED` with every attempt's reason when none works.
 */
export async function buildStrategy(
  store: PodmanStore,
  baseImage: string,
  options: { signal?: AbortSignal; tmpdir: string },
): Promise<BuildStrategy> {
  const podman = await podmanVersion(store, options.signal);
  const path = store.home.probe("podman");
  const known = await readStrategy(store.home);
  if (known?.podman === podman) return withFlags(known);

  const containerfile = join(options.tmpdir, "Containerfile.probe");
  await writeFile(containerfile, `FROM ${baseImage}\nRUN true\n`);
  const refused: BuildStrategyRecord["refused"] = [];
  for (const { name, flags } of STRATEGIES) {
    const result = await tryPodman(
      store,
      [
        ...["build", "--quiet", "--layers=false", "--no-cache", "--pull=never", ...flags],
        ...[`--file=${containerfile}`, options.tmpdir],
      ],
      { ...options, timeoutMs: STEP_LIMIT_MS },
    );
    if (result.exitCode !== 0) {
      refused.push({
        strategy: name,
        reason: result.timedOut ? "took more than a minute" : lastLines(result.stderr),
      });
      continue;
    }
    await runPodman(store, ["rmi", "--force", result.stdout.trim()], options);
    const record: BuildStrategyRecord = { version: 1, podman, strategy: name, refused };
    await writeFileAtomic(path, `${JSON.stringify(record, undefined, 2)}\n`);
    return withFlags(record);
  }
  throw new KilnError(
    "HOST_UNSUPPORTED",
    `podman cannot run a build step here:\n${refused.map(({ strategy, reason }) => `  ${strategy}: ${reason}`).join("\n")}`,
    {
      hint: "kiln doctor shows what is missing; without root, uidmap and fuse-overlayfs have to be installed",
      details: { refused },
    },
  );
}

/** Version of podman, such as `4.3.1`. */
export async function podmanVersion(store: PodmanStore, signal?: AbortSignal): Promise<string> {
  const { stdout } = await runPodman(store, ["--version"], signal ? { signal } : {});
  return stdout.trim().split(" ").at(-1) ?? "unknown";
}

function withFlags(record: BuildStrategyRecord): BuildStrategy {
  return { record, flags: STRATEGIES.find(({ name }) => name === record.strategy)?.flags ?? [] };
}

/** What was found out about Podman here, if anything was yet. */
export async function readStrategy(home: KilnHome): Promise<BuildStrategyRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(home.probe("podman"), "utf8")));
  } catch {
    return undefined; // Missing, or of another version of Kiln: probe again.
  }
}
