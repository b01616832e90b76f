import { z } from "zod";
import { KilnError } from "../errors.ts";
import { tryPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";
import { readImages } from "./read-images.ts";

const inspectSchema = z
  .array(
    z.object({
      Id: z.string().regex(/^[0-9a-f]{64}$/),
      Digest: z.string().optional(),
      Config: z.object({
        Env: z.array(z.string()).nullish(),
        WorkingDir: z.string().optional(),
        User: z.string().optional(),
        Labels: z.record(z.string(), z.string()).nullish(),
      }),
    }),
  )
  .length(1);

/** What an image says beside its files. */
export interface ImageConfig {
  id: string;
  digest: string | undefined;
  /** Variables in the image's order, as `[name, value]`. */
  env: [string, string][];
  workdir: string;
  user: string;
  labels: Record<string, string>;
}

export async function inspectImage(
  store: PodmanStore,
  image: string,
  signal?: AbortSignal,
): Promise<ImageConfig> {
  const { stdout } = await readImages(store, ["image", "inspect", image], signal ? { signal } : {});
  const parsed = inspectSchema.safeParse(JSON.parse(stdout));
  const found = parsed.data?.[0];
  if (found === undefined) {
    throw new KilnError("INTERNAL", `podman describes ${image} in a way Kiln does not know`, {
      cause: parsed.error,
    });
  }
  const { Config } = found;
  return {
    id: found.Id,
    digest: found.Digest,
    env: (Config.Env ?? []).map((entry) => {
      const equals = entry.indexOf("=");
      return equals === -1 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
    workdir: Config.WorkingDir || "/",
    user: Config.User || "root",
    labels: Config.Labels ?? {},
  };
}

/** Whether the storage has `image`. */
export async function hasImage(store: PodmanStore, image: string, signal?: AbortSignal): Promise<boolean> {
  return (await tryPodman(store, ["image", "exists", image], signal ? { signal } : {})).exitCode === 0;
}
