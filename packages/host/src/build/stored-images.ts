import { access } from "node:fs/promises";
import { z } from "zod";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { tryLockFile } from "../os/file-lock.ts";
import { lastLine, tryInStore, tryPodman } from "./podman.ts";
import { type PodmanStore, podmanStore } from "./podman-store.ts";
import { readImages } from "./read-images.ts";
import { withStorageDriver } from "./storage-driver.ts";

const listSchema = z.array(
  z.object({
    Id: z.string().regex(/^[0-9a-f]{64}$/),
    ParentId: z.string().default(""),
    Names: z.array(z.string()).nullish(),
    /** Of the image with all that it is made on, in bytes. */
    Size: z.number().nonnegative(),
    /** Seconds since 1970. */
    Created: z.number(),
  }),
);

/** An image in Kiln's storage: one with a name, or what a step of a build has made. */
export interface StoredImage {
  id: string;
  /** Id of the image it was made on, if that is there. */
  parent: string | undefined;
  names: string[];
  /** About what it takes beside its parent, in bytes. */
  ownBytes: number;
  createdMs: number;
}

/** Kiln's storage of images, with nobody building in it. */
export interface QuietStore extends AsyncDisposable {
  images: StoredImage[];
  /** Removes images and all their names. Those made on them go before them, or with them. */
  remove: (ids: readonly string[]) => Promise<void>;
}

/** Opens the storage while no build uses it; "busy" when one does, undefined when there is none. Builds wait until it is disposed. */
export async function openQuietStore(home: KilnHome): Promise<QuietStore | "busy" | undefined> {
  if (!(await isThere(podmanStore(home).root))) return undefined;
  await using stack = new AsyncDisposableStack();
  const lock = await tryLockFile(home.lock("containers"));
  if (lock === undefined) return "busy";
  stack.use(lock);
  const store = await withStorageDriver(podmanStore(home));
  const images = await listImages(store);
  const owned = stack.move();
  return {
    images,
    remove: (ids) => removeImages(store, ids),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function listImages(store: PodmanStore): Promise<StoredImage[]> {
  const { stdout } = await readImages(store, ["images", "--all", "--format", "json"]);
  const parsed = listSchema.safeParse(JSON.parse(stdout));
  if (!parsed.success) {
    throw new KilnError("INTERNAL", "podman lists images in a way Kiln does not know", {
      cause: parsed.error,
    });
  }
  const sizes = new Map(parsed.data.map(({ Id, Size }) => [Id, Size]));
  return parsed.data.map(({ Id, ParentId, Names, Size, Created }) => ({
    id: Id,
    parent: sizes.has(ParentId) ? ParentId : undefined,
    names: Names ?? [],
    ownBytes: Math.max(0, Size - (sizes.get(ParentId) ?? 0)),
    createdMs: Created * 1000,
  }));
}

async function removeImages(store: PodmanStore, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  // Podman takes with an image what without it has neither a name nor anything made on it, and does not know that afterwards.
  const { stderr } = await tryPodman(store, ["rmi", "--force", ...ids]);
  const left = new Set((await listImages(store)).map(({ id }) => id));
  const kept = ids.filter((id) => left.has(id));
  if (kept.length === 0) return;
  throw new KilnError("INTERNAL", `podman did not remove ${kept.length} images: ${lastLine(stderr)}`, {
    details: { images: kept },
  });
}

/** What the storage takes on the disk, in bytes. Only in podman's user namespace all of it can be seen. */
export async function storeBytes(home: KilnHome): Promise<number> {
  const store = podmanStore(home);
  if (!(await isThere(store.root))) return 0;
  const words = ["--summarize", "--one-file-system", "--block-size=1", store.root];
  const { stdout, stderr } = await tryInStore(store, "du", words);
  // What goes away meanwhile makes du complain, and nothing else.
  const bytes = Number.parseInt(stdout, 10);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new KilnError("INTERNAL", `du does not say what ${store.root} takes: ${lastLine(stderr)}`);
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
