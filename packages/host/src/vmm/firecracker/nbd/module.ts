import { readFileSync } from "node:fs";
import { KilnError } from "../../../errors.ts";

const PARAMETERS = "/sys/module/nbd/parameters";

/** How to load the module as Kiln needs it, for hints. */
export const LOAD_NBD = "modprobe nbd nbds_max=64 max_part=0";

/**
 * Whether the kernel's nbd module is there, loaded so that the host's kernel never reads a partition table that a guest has written.
 * @throws KilnError `HOST_UNSUPPORTED` saying how to load it.
 */
export function checkNbdModule(): void {
  const partitions = readPartitions();
  if (partitions === undefined) {
    throw new KilnError(
      "HOST_UNSUPPORTED",
      "the kernel's nbd module, which gives Firecracker its disks, is not loaded",
      {
        hint: `${LOAD_NBD} (as root; at every start of the machine: /etc/modules-load.d and /etc/modprobe.d)`,
      },
    );
  }
  if (Number(partitions) !== 0) {
    throw new KilnError(
      "HOST_UNSUPPORTED",
      "the nbd module is loaded so that the host looks for partitions on guests' disks",
      {
        hint: `modprobe -r nbd && ${LOAD_NBD}`,
      },
    );
  }
}

/** As the module was told; undefined when it is not loaded. */
function readPartitions(): string | undefined {
  try {
    return readFileSync(`${PARAMETERS}/max_part`, "utf8");
  } catch {
    return undefined;
  }
}
