import { findKernel } from "@kiln/host/build/kernel.ts";
import { KilnError } from "@kiln/host/errors.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { findCommand } from "@kiln/host/os/find-command.ts";
import { HOW_TO_INSTALL } from "@kiln/host/vmm/firecracker/applies.ts";
import { probeFirecracker } from "@kiln/host/vmm/firecracker/probe.ts";
import type { Check } from "./host.ts";

/** Whether sandboxes can be run by Firecracker, which none has to be. */
export async function checkFirecracker(home: KilnHome): Promise<Check> {
  const name = "firecracker";
  const note = (detail: string, hint?: string): Check => ({
    ...{ name, status: "note", detail },
    ...(hint === undefined ? {} : { hint }),
  });
  if (findCommand("firecracker") === undefined) {
    return note("not installed: there is no --engine firecracker", HOW_TO_INSTALL);
  }
  const kernel = await findKernel(home);
  if (!kernel) {
    return note(
      "not known yet: it is found out by booting a kernel, which is built with the first template",
      "kiln template build python",
    );
  }
  try {
    const { version } = await probeFirecracker(home.probe, kernel);
    const detail = `version ${version}, under which a guest kernel booted`;
    return { name, status: "ok", detail };
  } catch (error) {
    if (error instanceof KilnError) return note(error.message, error.hint);
    throw error;
  }
}
