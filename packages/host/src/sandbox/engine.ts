import { access } from "node:fs/promises";
import { findKernel } from "../build/kernel.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { EngineName, knownEngine, lastEngine } from "../vmm/engines.ts";
import type { Vmm } from "../vmm/vmm.ts";

/** The engines that made a home's snapshots. */
export interface Engines {
  /** The one of that name. @throws KilnError `HOST_UNSUPPORTED` when it was never used here. */
  of(name: string): Promise<Vmm>;
  /** Every one that was ever used here. */
  all(): Promise<Vmm[]>;
}

/** The engines that made this home's snapshots, as they were found out when those were made. */
export function enginesOf(home: KilnHome): Engines {
  const find = async (name: EngineName) => {
    const isKnown = await access(home.probe(name)).then(
      () => true,
      () => false,
    );
    return isKnown ? lastEngine(name, home.probe) : undefined;
  };
  return {
    async of(name) {
      const known = EngineName.safeParse(name).data;
      const engine = known && (await find(known));
      if (engine) return engine;
      throw new KilnError(
        "HOST_UNSUPPORTED",
        `it is not known how VMs of the engine ${name} run on this host`,
        {
          hint: "kiln template build NAME finds out",
        },
      );
    },
    async all() {
      return (await Promise.all(EngineName.options.map(find))).filter((engine) => engine !== undefined);
    },
  };
}

/** The engine that is taken where nobody asks for another, as far as that is known; nothing is tried. */
export async function chosenEngine(home: KilnHome): Promise<Vmm | undefined> {
  const kernel = await findKernel(home);
  return kernel && knownEngine(undefined, { probeFile: home.probe, kernel });
}
