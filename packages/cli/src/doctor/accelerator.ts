import { ensureAgent } from "@kiln/host/build/agent.ts";
import { findKernel } from "@kiln/host/build/kernel.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { findCommand } from "@kiln/host/os/find-command.ts";
import { probeQemu } from "@kiln/host/vmm/qemu/probe.ts";
import type { Check } from "./host.ts";

/** Whether KVM works is known by booting a kernel, and the kernel comes with the first template. */
export async function checkAccelerator(home: KilnHome): Promise<Check> {
  const name = "accelerator";
  if (findCommand("qemu-system-x86_64") === undefined) {
    return { name, status: "note", detail: "unknown without QEMU" };
  }
  const kernel = await findKernel(home);
  if (!kernel) {
    const detail =
      "not known yet: it is found out by booting a kernel, which is built with the first template";
    return { name, status: "note", detail, hint: "kiln template build python" };
  }
  const { accelerator, reason, version } = await probeQemu(
    home.probe("qemu"),
    kernel,
    async () => (await ensureAgent(home)).path,
  );
  if (accelerator.kind === "kvm")
    return { name, status: "ok", detail: `KVM with QEMU ${version}: ${reason}` };
  return {
    name,
    status: "note",
    detail: `software emulation with QEMU ${version}: ${reason}`,
    hint:
      "Sandboxes start quickly all the same, but what computes in them is several times slower. " +
      "For KVM: a machine (or a VM with nested virtualisation) whose /dev/kvm this user may open, e.g. by usermod -aG kvm.",
  };
}
