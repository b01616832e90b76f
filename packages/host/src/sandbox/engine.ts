import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { readProbe } from "../vmm/qemu/probe.ts";
import { QemuEngine } from "../vmm/qemu/qemu.ts";
import type { Vmm } from "../vmm/vmm.ts";

/**
 * The engine that made this home's snapshots, as it was found out when they were made.
 * @throws KilnError `HOST_UNSUPPORTED` when none was ever used here.
 */
export async function presentEngine(home: KilnHome): Promise<Vmm> {
  const probe = readProbe(home.probe("qemu"));
  if (probe) return new QemuEngine(probe);
  throw new KilnError(
    "HOST_UNSUPPORTED",
    "nothing was ever built here: it is not known how VMs run on this host",
    {
      hint: "kiln template build NAME finds out",
    },
  );
}
