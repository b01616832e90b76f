import { join, sep } from "node:path";
import type { KilnHome } from "../home.ts";
import { FetchClient } from "../lazy/fetch-client.ts";
import type { SandboxRecord } from "./sandbox-record.ts";

/**
 * Tells of a sandbox why a part of its disk or memory that it waits for, or could not have, is not here: at present, since it is asked anew
 * each time. Nothing is missing where no fetcher runs.
 */
export async function missingParts(home: KilnHome): Promise<(record: SandboxRecord) => string | undefined> {
  const status = await FetchClient.statusIfRunning(home.root);
  const failed = (status?.files ?? []).filter(({ failure }) => failure !== null);
  return ({ state, disk, source }) => {
    if (failed.length === 0 || state === "dead") return undefined;
    const places = [disk.base, ...disk.layers, source.folder].map((name) => join(home.root, name));
    const file = failed.find(({ path }) =>
      places.some((place) => path === place || path.startsWith(place + sep)),
    );
    return file && `a part of its disk or memory could not be fetched: ${file.failure}`;
  };
}
