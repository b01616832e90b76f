import { ensureAgent } from "@kiln/host/build/agent.ts";
import { findKernel } from "@kiln/host/build/kernel.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { findCommand } from "@kiln/host/os/find-command.ts";
import { openEngine, whyQemu } from "@kiln/host/vmm/engines.ts";
import type { Check } from "./host.ts";

/** Which engine sandboxes get that ask for none, why, what that costs, and how to have a better one. */
export async function checkEngine(home: KilnHome): Promise<Check> {
  const name = "engine";
  const kernel = await findKernel(home);
  if (!kernel || findCommand("qemu-system-x86_64") === undefined) {
    return { name, status: "note", detail: "not chosen yet: see above what that takes" };
  }
  const context = { probeFile: home.probe, kernel };
  const guestAgent = async () => (await ensureAgent(home)).path;
  const { engine, identity } = await openEngine(undefined, { ...context, guestAgent });
  if (engine === "firecracker") {
    return { name, status: "ok", detail: "auto is Firecracker: KVM works, and what it needs is there" };
  }
  if (identity.accelerator !== "kvm") {
    const detail =
      "auto is QEMU in software emulation: what computes in a sandbox is several times slower than with KVM";
    return { name, status: "note", detail, hint: "what works better needs KVM: see accelerator" };
  }
  const why = await whyQemu(context);
  const detail = `auto is QEMU with KVM, not Firecracker: ${why?.message ?? "it was not tried"}; sandboxes resume slower for it`;
  return { name, status: "ok", detail, ...(why?.hint === undefined ? {} : { hint: why.hint }) };
}
