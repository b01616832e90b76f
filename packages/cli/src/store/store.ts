import { KilnHome } from "@kiln/host/home.ts";
import { requireStoreConfig, type StoreConfig } from "@kiln/host/store/config.ts";
import { openNodeStore, Pull } from "@kiln/host/store/pull.ts";
import { parseReference } from "@kiln/host/store/references.ts";
import type { TemplateSpec } from "@kiln/host/template/spec.ts";
import { KilnError } from "@kiln/sdk/errors.ts";
import { printJson, printTable } from "../output/table.ts";
import { mib, RateLine } from "./rate.ts";

const print = (text: string) => process.stdout.write(`${text}\n`);

async function open() {
  const home = KilnHome.fromEnvironment();
  const config = await requireStoreConfig(home);
  return { home, config, store: await openNodeStore(config) };
}

export async function list(json: boolean): Promise<void> {
  const { listTags } = await import("@kiln/host/store/references.ts");
  const { store } = await open();
  await using _store = store;
  const tags = await listTags(store);
  if (json)
    printJson(
      tags.map(({ name, digest, movedAt }) => ({ name, digest: `sha256:${digest}`, moved_at: movedAt })),
    );
  else
    printTable(
      ["name", "version", "pushed"],
      tags.map(({ name, digest, movedAt }) => [name, `sha256:${digest}`, movedAt]),
    );
}

export async function listHandedOver(json: boolean): Promise<void> {
  const { listSandboxes } = await import("@kiln/host/store/sandboxes.ts");
  const { store } = await open();
  await using _store = store;
  const found: { id: string; digest: string }[] = [];
  for await (const { id, digest } of listSandboxes(store)) found.push({ id, digest: `sha256:${digest}` });
  if (json) printJson(found);
  else
    printTable(
      ["id", "address"],
      found.map(({ id, digest }) => [id, digest]),
    );
}

export async function push(
  name: string,
  flags: { key?: string; json: boolean },
  signal: AbortSignal,
): Promise<void> {
  const [{ pushTemplate }, { resolveTemplate }, { readSigner }] = await Promise.all([
    import("@kiln/host/store/push.ts"),
    import("@kiln/host/template/templates.ts"),
    import("@kiln/host/store/trust.ts"),
  ]);
  const { home, config, store } = await open();
  await using _store = store;
  const spec = await resolveTemplate(home, name);
  const line = new RateLine(`push ${spec.name}`);
  const pushed = await pushTemplate({
    home,
    store,
    spec,
    signer: flags.key === undefined ? undefined : await readSigner(flags.key),
    onProgress: ({ read, sent }, total) => line.show(read, total, sent),
    signal,
  });
  line.end();
  const { digest, sent, reused, resumed } = pushed;
  await leaveTrace(home, config, { spec, digest }, signal);
  if (flags.json)
    printJson({
      name: spec.name,
      digest: `sha256:${digest}`,
      sent_bytes: sent,
      reused_bytes: reused,
      resumed_bytes: resumed,
    });
  else print(`${spec.name}@sha256:${digest}: ${mib(sent)} sent, ${mib(reused + resumed)} were there`);
}

/** Other nodes can do without it: they start slower. */
async function leaveTrace(
  home: KilnHome,
  config: StoreConfig,
  version: { spec: TemplateSpec; digest: string },
  signal: AbortSignal,
): Promise<void> {
  const { recordTrace } = await import("@kiln/host/sandbox/record-trace.ts");
  try {
    await recordTrace(home, config, version, signal);
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    process.stderr.write(
      `kiln: ${version.spec.name} is in the store, but no start of it was recorded: ${why}\n`,
    );
  }
}

export async function pull(text: string, flags: { json: boolean }, signal: AbortSignal): Promise<void> {
  const [{ ensureSources }, { rootfsKey }, { rootfsKeyOf, specOf }, { adoptSpec }] = await Promise.all([
    import("@kiln/host/build/sources/ensure-sources.ts"),
    import("@kiln/host/build/rootfs.ts"),
    import("@kiln/host/store/format/template-manifest.ts"),
    import("./adopt-spec.ts"),
  ]);
  const home = KilnHome.fromEnvironment();
  await using pulled = await Pull.open(home, await requireStoreConfig(home), parseReference(text), {
    signal,
  });
  const { manifest, digest } = pulled;
  await ensureSources(home, { signal });
  if (rootfsKeyOf(manifest) !== (await rootfsKey(home, specOf(manifest)))) {
    throw new KilnError("CONFLICT", `${text} was pushed by another version of Kiln (${manifest.kiln})`, {
      hint: "nodes that share a store run the same version; or build the template here",
    });
  }
  await pulled.installKernel();
  const agent = pulled.signed && manifest.agent !== undefined ? [manifest.agent] : [];
  await pulled.installFolders([...agent, manifest.disk.base, ...manifest.disk.layers, ...manifest.snapshots]);
  await adoptSpec(home, specOf(manifest));
  const line = new RateLine(`pull ${manifest.name}`);
  await pulled.complete(({ files, fetchedBytes }) => {
    const total = files.reduce((sum, { parts }) => sum + parts, 0);
    const missing = files.reduce((sum, file) => sum + file.missing, 0);
    line.show(total - missing, total, fetchedBytes);
  });
  line.end();
  if (flags.json) printJson({ name: manifest.name, digest: `sha256:${digest}` });
  else print(`${manifest.name}@sha256:${digest}`);
}

export async function verify(json: boolean, signal: AbortSignal): Promise<void> {
  const { verifyStore } = await import("@kiln/host/store/verify.ts");
  const { store } = await open();
  await using _store = store;
  const line = new RateLine("verify");
  const result = await verifyStore(store, (bytes, total) => line.show(bytes, total, bytes), signal);
  line.end();
  if (json) printJson(result);
  else {
    for (const { message, versions } of result.damage) print(`${message}; needed by ${versions.join(", ")}`);
    print(
      `${result.versions} templates, ${result.packs} packs, ${mib(result.bytes)}: ${result.damage.length} damaged`,
    );
  }
  if (result.damage.length > 0) process.exitCode = 8;
}

export async function collectGarbage(
  flags: { dryRun: boolean; all: boolean; json: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { collect } = await import("@kiln/host/store/collect.ts");
  const { store } = await open();
  await using _store = store;
  const keep = flags.all ? { keepVersionsMs: 0, keepUnusedMs: 0 } : {};
  const { removed, removedBytes, kept, keptBytes } = await collect(store, {
    ...keep,
    dryRun: flags.dryRun,
    signal,
  });
  if (flags.json) printJson({ removed, removed_bytes: removedBytes, kept, kept_bytes: keptBytes });
  else
    print(
      `${flags.dryRun ? "would remove" : "removed"} ${removed} objects, ${mib(removedBytes)}; ${kept} stay, ${mib(keptBytes)}`,
    );
}

export async function makeKey(path: string): Promise<void> {
  const { generateKey } = await import("@kiln/host/store/trust.ts");
  print(await generateKey(path));
}
