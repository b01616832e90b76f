import { stat, statfs } from "node:fs/promises";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { NO_SPACE_HINT } from "./no-space.ts";
import { podmanStore } from "./podman-store.ts";
import { type SpaceEstimate, totalMib } from "./space-estimate.ts";

const MIB = 1024 * 1024;
/** How often a build's disks are looked at, in milliseconds. */
const LOOK_INTERVAL_MS = 500;
/** With less than this left, in MiB, writes are about to fail, whatever was asked to stay free. */
const FLOOR_MIB = 32;

interface Disk {
  /** A folder on it. */
  path: string;
  device: number;
  freeMib: number;
}

/** The disk of KILN_HOME, and that of podman's storage, which may be another one. */
async function disksOf(home: KilnHome): Promise<{ home: Disk; storage: Disk }> {
  const own = await diskOf(home.root);
  // Before the first build there is no storage: it is going to be in KILN_HOME.
  return { home: own, storage: await diskOf(podmanStore(home).root).catch(() => own) };
}

async function diskOf(path: string): Promise<Disk> {
  const [{ dev }, { bavail, bsize }] = await Promise.all([stat(path), statfs(path)]);
  return { path, device: dev, freeMib: Math.floor((bavail * bsize) / MIB) };
}

/**
 * Refuses a build that may not find the room it takes.
 *
 * @param reserveMib what has to stay free, in MiB.
 * @throws KilnError `DISK_FULL` with the room there is and the room it may take.
 */
export async function checkSpace(home: KilnHome, estimate: SpaceEstimate, reserveMib: number): Promise<void> {
  const disks = await disksOf(home);
  const { shared, image, rootfs, snapshot } = estimate;
  const demands =
    disks.home.device === disks.storage.device
      ? [{ disk: disks.home, neededMib: totalMib(estimate) }]
      : [
          { disk: disks.storage, neededMib: shared + image },
          { disk: disks.home, neededMib: rootfs + snapshot },
        ];
  for (const { disk, neededMib } of demands) {
    if (disk.freeMib >= neededMib + reserveMib) continue;
    throw new KilnError(
      "DISK_FULL",
      `the build may take ${neededMib} MiB, and ${reserveMib} MiB have to stay free: the disk of ${disk.path} has ${disk.freeMib} MiB left`,
      {
        hint: `${NO_SPACE_HINT}; min_free_disk_mib in config.json says what stays free`,
        details: {
          path: disk.path,
          free_mib: disk.freeMib,
          needed_mib: neededMib,
          reserve_mib: reserveMib,
          estimate: { ...estimate },
        },
      },
    );
  }
}

/** Looks at the disks of a build as long as it runs. */
export interface SpaceWatch extends Disposable {
  /** Fires when less than the reserve is left; its reason is a KilnError `DISK_FULL`. */
  signal: AbortSignal;
}

/** @param reserveMib what has to stay free, in MiB */
export function watchSpace(home: KilnHome, reserveMib: number): SpaceWatch {
  const full = new AbortController();
  const leastMib = Math.max(reserveMib, FLOOR_MIB);
  const look = async () => {
    for (const { path, freeMib } of Object.values(await disksOf(home))) {
      if (freeMib >= leastMib || full.signal.aborted) continue;
      full.abort(
        new KilnError(
          "DISK_FULL",
          `the build was ended: the disk of ${path} has ${freeMib} MiB left, and ${leastMib} MiB have to stay free`,
          {
            hint: `${NO_SPACE_HINT}; min_free_disk_mib in config.json says what stays free`,
            details: { path, free_mib: freeMib, reserve_mib: leastMib },
          },
        ),
      );
    }
  };
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_INTERVAL_MS);
  return { signal: full.signal, [Symbol.dispose]: () => clearInterval(timer) };
}
