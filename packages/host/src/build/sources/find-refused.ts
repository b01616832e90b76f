import { execa } from "execa";
import type { KilnHome } from "../../home.ts";
import type { Sources } from "../../template/sources.ts";
import { BASE_IMAGE } from "../artifact-base.ts";
import { readProvenance } from "../debian-image.ts";
import { findBundle } from "../host-inputs.ts";
import { hasImage, inspectImage } from "../image-config.ts";
import { lastLine, tryPodman, tryUsersPodman } from "../podman.ts";
import { podmanStore } from "../podman-store.ts";
import { withStorageDriver } from "../storage-driver.ts";

/** How long a server may take to answer, in milliseconds. */
const ANSWER_MS = 6_000;
const REGISTRY_MS = 20_000;

/** An address that has to answer for each source. */
const ADDRESSES = {
  node: "https://nodejs.org/dist/latest-v22.x/SHASUMS256.txt",
  uv: "https://astral.sh/uv/install.sh",
  rust: "https://sh.rustup.rs",
} as const;

/** Why the makers' own source cannot be used, for each of which that is so. All are asked at once. */
export async function findRefused(home: KilnHome, signal?: AbortSignal): Promise<Record<string, string>> {
  const names = Object.keys(ADDRESSES) as (keyof typeof ADDRESSES)[];
  const reasons = await Promise.all([
    refusedRegistry(home, signal).then((reason) => ["debian_image", reason] as const),
    ...names.map(async (name) => [name, await refusedAddress(ADDRESSES[name], signal)] as const),
  ] satisfies Promise<readonly [keyof Sources, string | undefined]>[]);
  return Object.fromEntries(reasons.filter(([, reason]) => reason !== undefined)) as Record<string, string>;
}

/** Why Debian's official image cannot be had; undefined when it can, or is here already. */
async function refusedRegistry(home: KilnHome, signal?: AbortSignal): Promise<string | undefined> {
  const limits = { ...(signal ? { signal } : {}), timeoutMs: REGISTRY_MS };
  const store = await withStorageDriver(podmanStore(home), signal);
  if (await hasImage(store, BASE_IMAGE, signal)) {
    const { labels } = await inspectImage(store, BASE_IMAGE, signal);
    return readProvenance(labels) && "the image here was made so";
  }
  for (const name of [BASE_IMAGE, BASE_IMAGE.replace("docker.io/library/", "localhost/")]) {
    if ((await tryUsersPodman(["image", "exists", name], limits)).exitCode === 0) return undefined;
  }
  // Podman knows of mirrors and credentials; what it asks for here is small.
  const asked = await tryPodman(store, ["manifest", "inspect", BASE_IMAGE], limits);
  if (asked.exitCode === 0) return undefined;
  return asked.timedOut
    ? `no answer from the registry within ${REGISTRY_MS / 1000} s`
    : `the registry is out of reach (${lastLine(asked.stderr)
        .replace(/^Error: /, "")
        .slice(0, 200)})`;
}

/** Asks as a build would: by way of the proxies, and with the authorities, that this machine has. */
const ASK = `
const answer = await fetch(process.argv[1], { signal: AbortSignal.timeout(${ANSWER_MS}) });
if (!answer.ok) throw new Error("status " + answer.status);
await answer.body?.cancel();
process.exit(0);`;

async function refusedAddress(url: string, signal?: AbortSignal): Promise<string | undefined> {
  const bundle = await findBundle();
  const { exitCode } = await execa(process.execPath, ["--input-type=module", "--eval", ASK, url], {
    reject: false,
    timeout: ANSWER_MS + 2_000,
    ...(signal ? { cancelSignal: signal } : {}),
    env: { NODE_USE_ENV_PROXY: "1", ...(bundle ? { NODE_EXTRA_CA_CERTS: bundle } : {}) },
  });
  signal?.throwIfAborted();
  return exitCode === 0 ? undefined : `${new URL(url).host} is out of reach`;
}
