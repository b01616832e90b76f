import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { FetchClient } from "../lazy/fetch-client.ts";
import { inParallel } from "../os/in-parallel.ts";
import { keys } from "../store/client/object-store.ts";
import { requireStoreConfig, type StoreConfig } from "../store/config.ts";
import { damaged } from "../store/format/digest.ts";
import { encodeSandboxManifest, type SandboxManifest } from "../store/format/sandbox-manifest.ts";
import { imagesOf } from "../store/format/template-manifest.ts";
import { nodeName, renewHold } from "../store/hold.ts";
import { installFolder } from "../store/install.ts";
import { useStore } from "../store/lease.ts";
import { openNodeStore } from "../store/pull.ts";
import { pushFolders } from "../store/push.ts";
import type { PushCounters } from "../store/push-image.ts";
import { claimSandbox, listSandboxes, readSandboxManifest } from "../store/sandboxes.ts";
import { readSigner, requireSignature } from "../store/trust.ts";
import { VERSION } from "../version.ts";
import type { Vmm } from "../vmm/vmm.ts";
import { parseRecord, type SandboxRecord } from "./sandbox-record.ts";

/**
 * A paused sandbox goes from node to node through the store. It never runs twice: what is handed over has an address, and only the node that
 * writes the claim of that address, which the store lets one do, goes on with it. The node that hands over notes the address before
 * anybody can see it, and from then on needs the claim as well.
 */
export async function handOver(
  home: KilnHome,
  record: SandboxRecord,
  vmm: Vmm,
  note: (digest: string) => Promise<void>,
  signal?: AbortSignal,
): Promise<PushCounters & { digest: string }> {
  const config = await requireStoreConfig(home);
  const signer = config.signing_key === undefined ? undefined : await readSigner(config.signing_key);
  await using store = await openNodeStore(config);
  let address = "";
  const counters = await pushFolders({ home, store, signal }, foldersOf(record), async (folders, lease) => {
    const { process: _, saved: __, moved: ___, ...kept } = record;
    const { bytes, digest } = encodeSandboxManifest({
      format: 1,
      id: record.id,
      pushedAt: new Date().toISOString(),
      kiln: VERSION,
      engine: { ...vmm.identity },
      record: kept,
      folders,
    });
    address = digest;
    if (signer) {
      const signature = signer.sign(digest, "sandbox");
      await store.put(keys.signature(digest, signer.keyId), signature, signal);
    }
    await note(digest);
    lease.check();
    await store.put(keys.sandbox(record.id, digest), bytes, signal);
  });
  return { digest: address, ...counters };
}

/** @throws KilnError `CONFLICT` when another node goes on with what was handed over as `digest`. */
export async function reclaim(home: KilnHome, id: string, digest: string): Promise<void> {
  await using store = await openNodeStore(await requireStoreConfig(home));
  await requireClaim(store, { id, digest }, await nodeName(home));
  await store.delete(keys.sandbox(id, digest));
}

/** What takes a sandbox up: its record, and what to do around writing it. */
export interface TakenSandbox {
  record: SandboxRecord;
  /** Makes it this node's. @throws KilnError `CONFLICT` when another node was first. */
  claim(): Promise<void>;
  /** To be called when its record is on disk: nobody else need see it any more, and the rest of it is fetched. */
  arrived(): Promise<void>;
}

/**
 * Brings the sandbox `id` out of the store as far as it takes to resume it; what is large arrives meanwhile.
 * @param pin is told the names below KILN_HOME that must not be removed, before they are there.
 * @throws KilnError `SANDBOX_NOT_FOUND`, `HOST_UNSUPPORTED`, `STORE_DAMAGED`, `STORE_UNTRUSTED`, `STORE_UNAVAILABLE`.
 */
export async function takeOver(
  home: KilnHome,
  id: string,
  vmm: Vmm,
  pin: (names: string[]) => void,
  signal?: AbortSignal,
): Promise<TakenSandbox> {
  const config = await requireStoreConfig(home);
  const node = await nodeName(home);
  await using store = await openNodeStore(config);
  const { digest, manifest } = await findStored(store, id, config, node, signal);
  const record = recordIn(manifest, digest);
  requireEngine(manifest, vmm);
  const names = foldersOf(record);
  pin(names);
  const install = { home, store, manifest, signal };
  const arriving = await inParallel(names, (folder) => installFolder(install, folder), { signal });
  return {
    record,
    claim: async () => {
      await using again = await openNodeStore(config);
      await requireClaim(again, { id, digest }, node);
    },
    arrived: async () => {
      await using again = await openNodeStore(config);
      await again.delete(keys.sandbox(id, digest));
      using client = new FetchClient(home.root);
      await client.begin(arriving.flat());
    },
  };
}

async function findStored(
  store: Awaited<ReturnType<typeof openNodeStore>>,
  id: string,
  { trusted_keys: trusted }: StoreConfig,
  node: string,
  signal: AbortSignal | undefined,
): Promise<{ digest: string; manifest: SandboxManifest }> {
  await using lease = await useStore(store, signal);
  // One that is taken up is no longer listed: of a sandbox that went through the store before there is one at most.
  for await (const stored of listSandboxes(store, signal, id)) {
    const manifest = await readSandboxManifest(store, stored, signal);
    if (trusted.length > 0)
      await requireSignature(store, { name: id, digest: stored.digest }, trusted, signal, "sandbox");
    await inParallel(imagesOf(manifest.folders, { lazy: true }), (image) => renewHold(store, image, node));
    lease.check();
    return { digest: stored.digest, manifest };
  }
  throw new KilnError("SANDBOX_NOT_FOUND", `the store ${store.name} has no sandbox "${id.slice(0, 64)}"`, {
    hint: "kiln store ls --sandboxes lists those that were handed over",
  });
}

async function requireClaim(
  store: Awaited<ReturnType<typeof openNodeStore>>,
  { id, digest }: { id: string; digest: string },
  node: string,
): Promise<void> {
  const owner = await claimSandbox(store, digest, node);
  if (owner === node) return;
  throw new KilnError("CONFLICT", `the node ${owner} goes on with the sandbox ${id}`, {
    hint: "a sandbox runs on one node: pause and push it there",
    details: { node: owner },
  });
}

function requireEngine(manifest: SandboxManifest, vmm: Vmm): void {
  const differs = Object.entries({ ...manifest.engine }).filter(
    ([key, value]) => vmm.identity[key] !== value,
  );
  if (differs.length === 0) return;
  const [[key, value] = ["", ""]] = differs;
  throw new KilnError(
    "HOST_UNSUPPORTED",
    `the sandbox was saved by an engine whose ${key} is ${value}; here it is ${vmm.identity[key] ?? "none"}`,
    { hint: "memory goes on only on hosts whose processor, clock and QEMU are alike" },
  );
}

/** What the manifest says of the sandbox. It was written by another node: nothing of it lies elsewhere than it may. */
function recordIn(manifest: SandboxManifest, digest: string): SandboxRecord {
  const record = parseRecord(JSON.stringify(manifest.record));
  const what = `sandbox manifest ${digest}`;
  if (record?.id !== manifest.id || record.state !== "paused") throw damaged(what, "its record is not valid");
  const missing = foldersOf(record).find((name) => manifest.folders[name] === undefined);
  if (missing !== undefined) throw damaged(what, `${missing} is not in it`);
  if (!/^layers\/[0-9a-f]{24}$/.test(record.disk.diff) || record.disk.nextDiff !== undefined)
    throw damaged(what, "its disk would be written elsewhere than below layers");
  return record;
}

/** Folders, relative to KILN_HOME, that a paused sandbox goes on from. */
function foldersOf({ disk, kernel, source }: SandboxRecord): string[] {
  const paths = [disk.base, kernel.vmlinuz, kernel.initrd, source.folder, ...disk.layers];
  return [...new Set(paths.map(folderOf))];
}

/** `artifacts/kernel/<key>` of a file in it, `rootfs/<key>` of its layer. */
const folderOf = (path: string): string =>
  path
    .split("/")
    .slice(0, path.startsWith("artifacts/") ? 3 : 2)
    .join("/");
