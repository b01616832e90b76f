import { z } from "zod";
import { KilnError } from "../errors.ts";
import { whyNotFirecracker } from "./firecracker/applies.ts";
import { knownProbe, probeQemu, readProbe } from "./qemu/probe.ts";
import { QemuEngine } from "./qemu/qemu.ts";
import type { Vmm } from "./vmm.ts";

/** Every engine by its name. */
export const EngineName = z.enum(["qemu", "firecracker"]);
export type EngineName = z.infer<typeof EngineName>;

/** What can be asked for: an engine, or `auto`, the best one that works here, which is the same as to ask for none. */
export const EngineChoice = z
  .enum(["auto", ...EngineName.options])
  .transform((choice) => (choice === "auto" ? undefined : choice));

export interface EngineContext {
  /** Where what was found out about the engine of that name is remembered. */
  probeFile: (engine: string) => string;
  kernel: { key: string; vmlinuz: string; initrd: string };
  /** Path of the guest agent, which can measure the time stamp counter; not called when all is known. */
  guestAgent: () => Promise<string>;
  signal?: AbortSignal | undefined;
}

type KnownContext = Pick<EngineContext, "probeFile"> & { kernel: { key: string } };

// Loaded when it is asked for: QEMU's sandboxes start sooner without it.
const firecracker = () => import("./firecracker/firecracker.ts");

/**
 * The engine `name`, or without one the best that works here: Firecracker where there is all it needs, else QEMU, with KVM or in software
 * emulation. What is not known yet is found out.
 * @throws KilnError `HOST_UNSUPPORTED` saying what is missing.
 */
export async function openEngine(name: EngineName | undefined, context: EngineContext): Promise<Vmm> {
  const { probeFile, kernel, guestAgent, signal } = context;
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.open(probeFile, kernel, signal);
  if (name === undefined && whyNotFirecracker() === undefined) {
    const { FirecrackerEngine } = await firecracker();
    const refusal = await FirecrackerEngine.knownRefusal(probeFile, kernel);
    try {
      if (refusal === undefined || refusal.isWorthAnotherTry)
        return await FirecrackerEngine.open(probeFile, kernel, signal);
    } catch (error) {
      if (!(error instanceof KilnError && error.code === "HOST_UNSUPPORTED")) throw error;
    }
  }
  return new QemuEngine(await probeQemu(probeFile("qemu"), kernel, guestAgent, signal));
}

/** The same if all that the choice depends on is known: nothing is tried. */
export async function knownEngine(
  name: EngineName | undefined,
  { probeFile, kernel }: KnownContext,
): Promise<Vmm | undefined> {
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.known(probeFile, kernel);
  if (name === undefined && whyNotFirecracker() === undefined) {
    const { FirecrackerEngine } = await firecracker();
    if ((await FirecrackerEngine.knownRefusal(probeFile, kernel)) === undefined) {
      return FirecrackerEngine.known(probeFile, kernel);
    }
  }
  const probe = knownProbe(probeFile("qemu"), kernel);
  return probe && new QemuEngine(probe);
}

/** Why Firecracker is not what is chosen here without being asked for; undefined when it is, or was not tried yet. */
export async function whyQemu({ probeFile, kernel }: KnownContext): Promise<KilnError | undefined> {
  const unsuited = whyNotFirecracker();
  if (unsuited !== undefined) return unsuited;
  return (await (await firecracker()).FirecrackerEngine.knownRefusal(probeFile, kernel))?.reason;
}

/** The engine `name` as it was found out last, whatever has changed since; undefined when it never was. */
export async function lastEngine(
  name: EngineName,
  probeFile: EngineContext["probeFile"],
): Promise<Vmm | undefined> {
  if (name === "firecracker") return (await firecracker()).FirecrackerEngine.last(probeFile);
  const probe = readProbe(probeFile(name));
  return probe && new QemuEngine(probe);
}
