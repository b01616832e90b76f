import { readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { KilnHome } from "../home.ts";
import { ensureWhole } from "../lazy/ensure-whole.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { lockFile } from "../os/file-lock.ts";
import { runStage } from "../progress.ts";
import { canonicalHash } from "../template/spec-hash.ts";
import { BASE_IMAGE } from "./artifact-base.ts";
import { publishFolder } from "./artifact-cache.ts";
import { type BuildOptions, limitsOf } from "./build-options.ts";
import { hashOwnSources } from "./own-sources.ts";

const SOURCES = join(import.meta.dirname, "kernel");
const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** What the build says about the kernel it found in Debian's archive. */
const packageSchema = z.strictObject({
  /** Debian package, such as `linux-image-6.1.0-40-cloud-amd64`. */
  package: z.string().min(1).max(200),
  /** Version of that package. */
  version: z.string().min(1).max(200),
});
const kernelSchema = packageSchema.extend({
  format: z.literal(1),
  key: hash,
  sources: hash,
  built_at: z.iso.datetime(),
});
/** Which kernel the present sources made last. */
const pointerSchema = z.strictObject({ format: z.literal(1), key: hash });

/** A kernel and the initramfs that loads virtio and hands over to /sbin/agent. */
export interface Kernel {
  key: string;
  vmlinuz: string;
  initrd: string;
  /** Debian's package and version, for people. */
  version: string;
}

/**
 * The guest kernel, taken from Debian's archive by podman when its build files changed.
 *
 * @throws KilnError `BUILD_FAILED`, `BASE_IMAGE_UNAVAILABLE`, `HOST_UNSUPPORTED`, `CANCELLED`.
 */
export async function ensureKernel(home: KilnHome, options: BuildOptions = {}): Promise<Kernel> {
  const sources = await hashSources();
  const found = openKernel(home, sources);
  // Whoever asks for it is going to boot it.
  if (found) {
    await ensureWhole([found.vmlinuz, found.initrd]);
    return found;
  }
  await using _lock = await lockFile(home.lock("kernel"), options.signal);
  return (
    openKernel(home, sources) ??
    runStage(options.onProgress, "kernel", (update) => buildKernel(home, sources, options, update))
  );
}

/** The guest kernel if it has been built, without building anything. */
export async function findKernel(home: KilnHome): Promise<Kernel | undefined> {
  return openKernel(home, await hashSources());
}

/** Makes the kernel in artifacts/kernel/<key>, which came from elsewhere, the one that is used, if the present sources made it. */
export async function useKernel(home: KilnHome, key: string): Promise<void> {
  const sources = await hashSources();
  const made = kernelSchema.safeParse(
    JSON.parse(await readFile(join(home.artifact("kernel", key), "kernel.json"), "utf8")),
  );
  if (made.data?.key !== key || made.data.sources !== sources) return;
  await writeFileAtomic(pointerPath(home, sources), `${JSON.stringify({ format: 1, key })}\n`);
}

const hashSources = () => hashOwnSources(SOURCES, ["."], () => false);

const pointerPath = (home: KilnHome, sources: string) => `${home.artifact("kernel", sources)}.json`;

function openKernel(home: KilnHome, sources: string): Kernel | undefined {
  try {
    const pointer = pointerSchema.parse(JSON.parse(readFileSync(pointerPath(home, sources), "utf8")));
    const folder = home.artifact("kernel", pointer.key);
    return describe(
      folder,
      kernelSchema.parse(JSON.parse(readFileSync(join(folder, "kernel.json"), "utf8"))),
    );
  } catch {
    return undefined; // Missing, or of another version of Kiln: build it.
  }
}

function describe(folder: string, kernel: z.infer<typeof kernelSchema>): Kernel {
  return {
    key: kernel.key,
    vmlinuz: join(folder, "vmlinuz"),
    initrd: join(folder, "initrd"),
    version: `${kernel.package} ${kernel.version}`,
  };
}

async function buildKernel(
  home: KilnHome,
  sources: string,
  options: BuildOptions,
  onUpdate: (message: string, fraction?: number) => void,
): Promise<Kernel> {
  // Loaded when there is something to build; most runs find everything built and start sooner without it.
  const [{ openBuildSession }, { buildContainer }] = await Promise.all([
    import("./build-session.ts"),
    import("./container-build.ts"),
  ]);
  await using session = await openBuildSession(home, BASE_IMAGE, options);
  const output = join(session.scratch, "artifact");
  await mkdir(output);
  await buildContainer(session.store, {
    containerfile: await readFile(join(SOURCES, "Containerfile"), "utf8"),
    context: SOURCES,
    buildArgs: { BASE: BASE_IMAGE },
    target: "artifact",
    outputFolder: output,
    flags: session.flags,
    tmpdir: session.tmpdir,
    logPath: home.log("kernel"),
    ...limitsOf(options),
    onUpdate,
  });
  const found = packageSchema.parse(JSON.parse(await readFile(join(output, "package.json"), "utf8")));
  const key = canonicalHash({ sources, ...found });
  const kernel = kernelSchema.parse({
    ...found,
    format: 1,
    key,
    sources,
    built_at: new Date().toISOString(),
  });
  await writeFile(join(output, "kernel.json"), `${JSON.stringify(kernel, undefined, 2)}\n`);
  await publishFolder(output, home.artifact("kernel", key));
  await writeFileAtomic(pointerPath(home, sources), `${JSON.stringify({ format: 1, key })}\n`);
  return describe(home.artifact("kernel", key), kernel);
}
