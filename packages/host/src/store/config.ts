import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KilnError, systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { StoreLocation } from "./client/location.ts";
import { PublicKeyText } from "./trust.ts";

/** The field `store` of `$KILN_HOME/config.json`. */
export const StoreConfig = StoreLocation.extend({
  /** Starts sandboxes before their template has arrived as a whole. */
  lazy: z.boolean().default(true),
  /** Room for chunks that were fetched, in MiB; the least recently used go first. */
  cache_mib: z.int().min(0).default(2048),
  /** How long a guest waits for a part of its disk or memory while the store does not answer, in seconds. */
  patience_s: z.int().min(1).max(86_400).default(60),
  /** Versions of templates have to be signed by one of these; none: they need not be signed. */
  trusted_keys: z.array(PublicKeyText).max(100).default([]),
  /** File of the key that the daemon signs sandboxes with which it hands over. */
  signing_key: z.string().startsWith("/").max(4096).optional(),
});
export type StoreConfig = z.output<typeof StoreConfig>;

/** The store that a node uses, or undefined when it uses none. @throws KilnError `USAGE` naming the field that is wrong. */
export async function readStoreConfig(home: KilnHome): Promise<StoreConfig | undefined> {
  const path = join(home.root, "config.json");
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw new KilnError("USAGE", `${path} is not JSON`, { cause: error });
  }
  const parsed = z.object({ store: StoreConfig.optional() }).safeParse(content);
  if (parsed.success) return parsed.data.store;
  const issues = parsed.error.issues.map(({ path: field, message }) => `${field.join(".")}: ${message}`);
  throw new KilnError("USAGE", `${path}: ${issues.join("; ")}`, { hint: "docs/store.md lists the fields" });
}

/** @throws KilnError `USAGE` when the node uses no store. */
export async function requireStoreConfig(home: KilnHome): Promise<StoreConfig> {
  const config = await readStoreConfig(home);
  if (config) return config;
  throw new KilnError("USAGE", "this node uses no store", {
    hint: `say which in ${join(home.root, "config.json")}: { "store": { "url": "/srv/kiln" } }, or give --store`,
  });
}

export const locationOf = ({ url, endpoint, region, profile }: StoreConfig): StoreLocation => ({
  url,
  ...(endpoint !== undefined && { endpoint }),
  ...(region !== undefined && { region }),
  ...(profile !== undefined && { profile }),
});
