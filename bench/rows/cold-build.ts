import { copyFile, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureAgent } from "../../packages/host/src/build/agent.ts";
import { openBuildSession } from "../../packages/host/src/build/build-session.ts";
import { hostInputs } from "../../packages/host/src/build/host-inputs.ts";
import { runPodman, tryInStore } from "../../packages/host/src/build/podman.ts";
import { podmanStore } from "../../packages/host/src/build/podman-store.ts";
import { ensureRootfs } from "../../packages/host/src/build/rootfs.ts";
import { ensureSources } from "../../packages/host/src/build/sources/ensure-sources.ts";
import { KilnHome } from "../../packages/host/src/home.ts";
import { generateContainerfile } from "../../packages/host/src/template/containerfile.ts";
import type { TemplateSpec } from "../../packages/host/src/template/spec.ts";
import { resolveTemplate } from "../../packages/host/src/template/templates.ts";
import { interleave } from "../measure/interleave.ts";
import type { Row } from "./row.ts";

/** Kernel, agent, and what was found out about this host: no part of what is measured. */
const SHARED = ["artifacts", "probes"];

/** What anybody would type: the image, and a file system of the same size made of its files. */
const BY_HAND = `set -e
store="--root $1 --runroot $2 --storage-driver overlay"; file=$3; mib=$4; shift 4
image=$(podman $store build --quiet "$@")
folder=$(podman $store image mount "$image")
mke2fs -q -t ext4 -d "$folder" "$file" "\${mib}m"
sync "$file"
podman $store image umount "$image" >/dev/null`;

/** Runs `work` with a home that has the base image and no step cached; removes it. */
async function inEmptyHome<T>(
  built: KilnHome,
  baseImage: string,
  root: string,
  work: (home: KilnHome) => Promise<T>,
): Promise<T> {
  const home = new KilnHome(root);
  const store = podmanStore(home);
  await mkdir(root);
  try {
    for (const name of SHARED) await symlink(join(built.root, name), join(root, name));
    const archive = join(root, "base.tar");
    await runPodman(podmanStore(built), ["save", "--quiet", `--output=${archive}`, baseImage]);
    await runPodman(store, ["load", "--quiet", `--input=${archive}`]);
    await rm(archive);
    return await work(home);
  } finally {
    await tryInStore(store, "rm", ["-rf", root, store.runroot]);
  }
}

/** Seconds that Kiln takes for the rootfs, and how many of them go into Podman's build. */
async function byKiln(home: KilnHome, spec: TemplateSpec, signal: AbortSignal): Promise<[number, number]> {
  const started = performance.now();
  const { record } = await ensureRootfs(home, spec, { signal });
  return [(performance.now() - started) / 1000, record.build_ms / 1000];
}

/** Seconds that podman build and mke2fs take, in the same storage, with the same Containerfile and flags. */
async function byHand(home: KilnHome, spec: TemplateSpec, signal: AbortSignal): Promise<number> {
  await using session = await openBuildSession(home, spec.base_image, { signal });
  const { text, buildArgs } = generateContainerfile(spec, await ensureSources(home, { signal }), "all");
  const [containerfile, context] = [join(session.scratch, "Containerfile"), join(session.scratch, "context")];
  await writeFile(containerfile, text);
  await mkdir(context);
  await copyFile((await ensureAgent(home)).path, join(context, "agent"));
  const flags = [
    ...["--layers", "--pull=never", ...session.flags],
    ...(await hostInputs(join(session.scratch, "host"))),
    ...Object.entries(buildArgs).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...[`--file=${containerfile}`, context],
  ];
  const { root, runroot } = session.store;
  const image = [join(session.scratch, "by-hand.ext4"), String(spec.disk_mib)];
  const started = performance.now();
  const { exitCode, stderr } = await tryInStore(
    session.store,
    "bash",
    ["-c", BY_HAND, "bash", root, runroot, ...image, ...flags],
    { signal, tmpdir: session.tmpdir },
  );
  if (exitCode !== 0) throw new Error(`podman build and mke2fs failed: ${stderr.slice(-2_000)}`);
  return (performance.now() - started) / 1000;
}

export const coldBuild: Row = {
  name: "cold-build",
  summary: "the template's rootfs from an empty cache, beside podman build and mke2fs (only when named)",
  defaultRuns: 3,
  async measure(context, runs) {
    await context.bootable(); // Kernel and agent.
    const { home, signal, template } = context;
    const spec = await resolveTemplate(home, template);
    await using _base = await openBuildSession(home, spec.base_image, { signal });
    const folder = await context.folder();
    const podman: number[] = [];
    let next = 0;
    const inTurn = await interleave(
      {
        kiln: () =>
          inEmptyHome(home, spec.base_image, join(folder, `k${next++}`), async (empty) => {
            const [all, image] = await byKiln(empty, spec, signal);
            podman.push(image);
            return all;
          }),
        "by hand": () =>
          inEmptyHome(home, spec.base_image, join(folder, `h${next++}`), (empty) =>
            byHand(empty, spec, signal),
          ),
      },
      runs,
      signal,
    );
    return [
      {
        row: "cold-build",
        title: `rootfs of ${template} from an empty cache: Kiln, and podman build with mke2fs`,
        unit: "s",
        series: Object.entries(inTurn).map(([label, values]) => ({ label, values })),
        ratios: [["kiln", "by hand"]],
        breakdown: [
          {
            of: "kiln",
            parts: [
              { label: "podman build", values: podman.slice(1) },
              {
                label: "writing and listing the rootfs",
                values: inTurn.kiln.map((all, run) => all - (podman[run + 1] ?? 0)),
              },
            ],
          },
        ],
        notes: ["both fetch the same packages; how fast they come is in both"],
      },
    ];
  },
};
