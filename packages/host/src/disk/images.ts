import { BASE_IMAGE } from "../build/artifact-base.ts";
import type { StoredImage } from "../build/stored-images.ts";
import type { KnownTemplate } from "./caches.ts";
import type { Part, Policy } from "./plan.ts";

export interface ImagePart extends Part {
  kind: "image";
  id: string;
  bytes: number;
}

/** What an image of a rootfs is called in Kiln's storage. */
const ROOTFS_IMAGE = /^localhost\/kiln:([0-9a-f]{32})$/;

/**
 * Tells which images are kept: those that builds of known templates start from, those of rootfs that are kept, and the steps below either.
 * What is removed is in an order in which an image comes before what it was made on.
 */
export function planImages(
  images: readonly StoredImage[],
  templates: readonly KnownTemplate[],
  keptRootfs: readonly string[],
  { olderThanMs = 0 }: Policy,
  now: number,
): { kept: ImagePart[]; removed: ImagePart[] } {
  const byId = new Map(images.map((image) => [image.id, image]));
  const users = new Map([[BASE_IMAGE, "the kernel and the agent are built in it"]]);
  for (const { name, images: names } of templates) {
    for (const image of names) if (!users.has(image)) users.set(image, `builds of ${name} start from it`);
  }
  const rootfs = new Set(keptRootfs.map((key) => key.slice(0, 32)));
  const reasons = new Map<string, string>();
  const keep = (image: StoredImage | undefined, reason: string) => {
    for (let at = image; at !== undefined && !reasons.has(at.id); at = byId.get(at.parent ?? "")) {
      reasons.set(at.id, at === image ? reason : "it is a step below one that is kept");
    }
  };
  for (const image of images) {
    for (const name of image.names) {
      const user = users.get(name);
      if (user !== undefined) keep(image, user);
      else if (rootfs.has(ROOTFS_IMAGE.exec(name)?.[1] ?? ""))
        keep(image, "a template that is kept was made of it");
    }
    if (now - image.createdMs < olderThanMs) keep(image, "it was made not long ago");
  }
  const depth = (image: StoredImage): number => {
    let steps = 0;
    for (let at = byId.get(image.parent ?? ""); at !== undefined; at = byId.get(at.parent ?? "")) steps += 1;
    return steps;
  };
  const part = ({ id, names, ownBytes }: StoredImage): ImagePart => ({
    kind: "image",
    name: names[0] ?? `step ${id.slice(0, 12)}`,
    id,
    bytes: ownBytes,
    reason: reasons.get(id) ?? "no known template is built from it",
  });
  const ordered = images.toSorted((a, b) => depth(b) - depth(a) || (a.id < b.id ? -1 : 1));
  return {
    kept: ordered.filter(({ id }) => reasons.has(id)).map(part),
    removed: ordered.filter(({ id }) => !reasons.has(id)).map(part),
  };
}
