import { findCgroups } from "@kiln/host/vmm/jail/cgroup-host.ts";
import type { Check } from "./host.ts";

/** Whether a VM's use of memory, processes and processors can be limited by the host's kernel. */
export async function checkCgroups(): Promise<Check> {
  const name = "control groups";
  const host = await findCgroups();
  if (typeof host === "string") {
    return {
      ...{ name, status: "note", detail: `VMs run without: ${host}` },
      hint: "As a service: systemd's Delegate=yes and DelegateSubgroup=kiln. Other limits hold all the same: address space, files, users of their own.",
    };
  }
  const { version, parents } = host;
  const detail = `version ${version}: each VM has its own, with limits on memory, processes and processors, in ${parents.memory}`;
  if (version === 2) return { name, status: "ok", detail };
  return {
    ...{ name, status: "note", detail: `${detail}; VMs resume slower with version 1` },
    hint: "version 2: systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
  };
}
