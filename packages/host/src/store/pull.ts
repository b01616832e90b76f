import { join } from "node:path";
import { findKernel, useKernel } from "../build/kernel.ts";
import type { KilnHome } from "../home.ts";
import { FetchClient } from "../lazy/fetch-client.ts";
import { inParallel } from "../os/in-parallel.ts";
import { Uses } from "../os/in-use.ts";
import { openStore } from "./client/location.ts";
import type { ObjectStore } from "./client/object-store.ts";
import { retrying } from "./client/retry.ts";
import { locationOf, type StoreConfig } from "./config.ts";
import { writeStart } from "./fetcher/trace.ts";
import { imagesOf, type TemplateManifest } from "./format/template-manifest.ts";
import { endHold, nodeName, renewHold } from "./hold.ts";
import { type Install, installFolder } from "./install.ts";
import { useStore } from "./lease.ts";
import { type Reference, readTemplateManifest, resolveReference } from "./references.ts";
import { requireSignature } from "./trust.ts";

/** Opens the store that a node uses, asked again while it does not answer. */
export async function openNodeStore(
  config: StoreConfig,
  patienceMs = config.patience_s * 1000,
): Promise<ObjectStore> {
  return retrying(await openStore(locationOf(config)), { patienceMs });
}

/** A version of a template in the store, on its way to this node. What was installed is not removed before this is disposed. */
export class Pull implements AsyncDisposable {
  readonly digest: string;
  readonly manifest: TemplateManifest;
  /** Whether a key that this node trusts has signed it. */
  readonly signed: boolean;
  readonly #install: Install & { manifest: TemplateManifest };
  readonly #arriving: string[] = [];
  readonly #uses: Uses;

  private constructor(install: Install & { manifest: TemplateManifest }, digest: string, signed: boolean) {
    this.#install = install;
    this.#uses = new Uses(install.home);
    this.digest = digest;
    this.manifest = install.manifest;
    this.signed = signed;
  }

  /**
   * Finds what a reference means and makes sure that it stays in the store while it is fetched.
   * @throws KilnError `TEMPLATE_NOT_FOUND`, `STORE_UNTRUSTED`, `STORE_DAMAGED`, `STORE_UNAVAILABLE`.
   */
  static async open(
    home: KilnHome,
    config: StoreConfig,
    reference: Reference,
    options: { signal?: AbortSignal | undefined; patienceMs?: number } = {},
  ): Promise<Pull> {
    const { signal } = options;
    const store = await openNodeStore(config, options.patienceMs);
    try {
      // First of all: a name may move, and what it stood for be collected, until then.
      await using lease = await useStore(store, signal);
      const digest = await resolveReference(store, reference, signal);
      const trusted = config.trusted_keys;
      const [manifest, node] = await Promise.all([
        readTemplateManifest(store, { name: reference.name, digest }, signal),
        nodeName(home),
        trusted.length > 0
          ? requireSignature(store, { name: reference.name, digest }, trusted, signal)
          : undefined,
      ]);
      await inParallel(imagesOf(manifest.folders, { lazy: true }), (image) => renewHold(store, image, node));
      lease.check();
      return new Pull({ home, store, manifest, signal }, digest, trusted.length > 0);
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Brings the kernel, unless this node has one already: its own snapshots need that. */
  async installKernel(): Promise<void> {
    const { home } = this.#install;
    if (await findKernel(home)) return;
    await this.installFolders([this.manifest.kernel]);
    await useKernel(home, this.manifest.kernel.slice("artifacts/kernel/".length));
  }

  /** Makes folders of the template at their places; large files in them are still to arrive. */
  async installFolders(folders: readonly string[]): Promise<void> {
    const { home, signal } = this.#install;
    await this.#uses.add(
      folders.map((folder) => join(home.root, folder)),
      signal,
    );
    const arriving = await inParallel(
      folders,
      (folder, linked) => installFolder({ ...this.#install, signal: linked }, folder),
      { signal },
    );
    this.#arriving.push(...arriving.flat());
  }

  /** Has what is still to arrive fetched: what earlier starts have touched first, the rest in the background. */
  async begin(): Promise<void> {
    if (this.#arriving.length === 0) return;
    using client = new FetchClient(this.#install.home.root);
    await client.begin(this.#arriving);
  }

  /** Waits until everything has arrived. */
  async complete(onProgress?: (status: Awaited<ReturnType<FetchClient["status"]>>) => void): Promise<void> {
    using client = new FetchClient(this.#install.home.root);
    const timer = setInterval(() => void client.status().then(onProgress, () => undefined), 500);
    try {
      await Promise.all(this.#arriving.map((path) => client.complete(path)));
    } finally {
      clearInterval(timer);
    }
  }

  /** Puts what starts have touched together in the store, so that it comes at once the next time. */
  async gatherStarts(): Promise<void> {
    const { store, manifest, signal } = this.#install;
    await inParallel(
      imagesOf(manifest.folders, { lazy: true }),
      (image) => writeStart(store, image, signal),
      {
        atOnce: 2,
        signal,
      },
    );
  }

  /** Gives up what has not arrived: the store need not keep it for this node. */
  async forgo(): Promise<void> {
    const { home, store, manifest } = this.#install;
    const node = await nodeName(home);
    await inParallel(imagesOf(manifest.folders, { lazy: true }), (image) => endHold(store, image, node));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#uses[Symbol.asyncDispose]();
    await this.#install.store[Symbol.asyncDispose]();
  }
}
