import { z } from "zod";
import { knownProbe, probeQemu, readProbe } from "./qemu/probe.ts";
import { QemuEngine } from "./qemu/qemu.ts";
import type { Vmm } from "./vmm.ts";

/** Every engine by its name. */
export const EngineName = z.enum(["qemu", "firecracker"]);
export type EngineName = z.infer<typeof EngineName>;

/** The one that is taken where nobody asks for another. */
export const DEFAULT_ENGINE: EngineName = "qemu";

export interface EngineContext {
  /** Where what was found out about the engine of that name is remembered. */
  probeFile: (engine: string) => string;
  kernel: { key: string; vmlinuz: string; initrd: string };
  /** Path of the guest agent, which can measure the time stamp counter; not called when all is known. */
  guestAgent: () => Promise<string>;
  signal?: AbortSignal | undefined;
}

// Loaded when it is asked for: QEMU's sandboxes start sooner without it.
const firecracker = () => import("./firecracker/firecracker.ts");

/** The engine `name`; what is not known about it yet is found out. @throws KilnError `HOST_UNSUPPORTED` saying what is missing. */
export async function openEngine(name: EngineName, context: EngineContext): Promise<Vmm> {
  const { probeFile, kernel, guestAgent, signal } = context;
  const file = probeFile(name);
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.open(file, kernel, signal);
  return new QemuEngine(await probeQemu(file, kernel, guestAgent, signal));
}

/** The engine `name` if it is known to work with `kernel`: nothing is tried. */
export async function knownEngine(
  name: EngineName,
  { probeFile, kernel }: Pick<EngineContext, "probeFile"> & { kernel: { key: string } },
): Promise<Vmm | undefined> {
  const file = probeFile(name);
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.known(file, kernel);
  const probe = knownProbe(file, kernel);
  return probe && new QemuEngine(probe);
}

/** The engine `name` as it was found out last, whatever has changed since; undefined when it never was. */
export async function lastEngine(
  name: EngineName,
  probeFile: EngineContext["probeFile"],
): Promise<Vmm | undefined> {
  const file = probeFile(name);
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.last(file);
  const probe = readProbe(file);
  return probe && new QemuEngine(probe);
}
