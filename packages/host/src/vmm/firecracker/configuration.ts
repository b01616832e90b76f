import type { VmConfig } from "../vmm.ts";
import { TAP } from "./tap/taps.ts";
import { type FirecrackerPaths, PATHS } from "./view.ts";

/** Any number from 3: each Firecracker has a vsock of its own. */
const GUEST_CID = 3;

/** Largest packet on the guest's link, and its card's address, as QEMU's. */
const MTU = 15_360;
const GUEST_MAC = "02:4b:69:6c:6e:02";

/**
 * `reboot=k`: the guest's keyboard controller is Firecracker's only switch. There is no keyboard behind it, so nobody looks for one, and
 * no PCI.
 */
const KERNEL_COMMAND_LINE = [
  "console=ttyS0 quiet reboot=k panic=-1 mitigations=off",
  "pci=off i8042.noaux i8042.nomux i8042.dumbkbd",
].join(" ");

/** A request to Firecracker's API. */
export interface ApiRequest {
  path: string;
  body: unknown;
}

/** What makes a machine before its first start, in this order. It is part of a snapshot's format. */
export function bootRequests({ vcpu, memoryMib }: VmConfig, paths: FirecrackerPaths): ApiRequest[] {
  return [
    { path: "/machine-config", body: { vcpu_count: vcpu, mem_size_mib: memoryMib, smt: false } },
    {
      path: "/boot-source",
      body: { kernel_image_path: paths.vmlinux, initrd_path: paths.initrd, boot_args: KERNEL_COMMAND_LINE },
    },
    {
      path: "/drives/disk",
      body: {
        ...{ drive_id: "disk", path_on_host: paths.disk, is_root_device: false, is_read_only: false },
        // The guest's flushes reach the block server.
        cache_type: "Writeback",
      },
    },
    {
      path: "/network-interfaces/eth0",
      body: { iface_id: "eth0", host_dev_name: TAP, guest_mac: GUEST_MAC, mtu: MTU },
    },
    { path: "/vsock", body: { guest_cid: GUEST_CID, uds_path: paths.vsock } },
  ];
}

/** Makes a machine of a snapshot, paused: it is locked in before its guest runs. */
export function restoreRequest(paths: FirecrackerPaths): ApiRequest {
  return {
    path: "/snapshot/load",
    body: {
      snapshot_path: paths.state,
      mem_backend: { backend_type: "File", backend_path: paths.memory },
      vsock_override: { uds_path: paths.vsock },
      resume_vm: false,
    },
  };
}

/** Writes a paused machine to files. */
export function saveRequest(type: "Full" | "Diff", paths: FirecrackerPaths): ApiRequest {
  return {
    path: "/snapshot/create",
    body: { snapshot_type: type, snapshot_path: paths.savedState, mem_file_path: paths.savedMemory },
  };
}

/**
 * Has a paused machine's devices prepare to be written, and fails then, for there is no such folder. Firecracker 1.16 gives a guest that goes on
 * nothing by vsock until that has acknowledged that its connections are over (`pending_event_ack` in its vsock device), and it is preparing that
 * tells the guest so.
 */
export function prepareRequest(): ApiRequest {
  return {
    path: "/snapshot/create",
    body: { snapshot_type: "Diff", snapshot_path: "/nowhere/state", mem_file_path: "/nowhere/memory" },
  };
}

/** What a snapshot taken with this configuration depends on, apart from its files. */
export function configurationIdentity(): string {
  const config: VmConfig = {
    directory: "",
    vcpu: 0,
    memoryMib: 0,
    kernel: { vmlinuz: "", initrd: "" },
    disk: { socketPath: "", exportName: "" },
  };
  return JSON.stringify(bootRequests(config, PATHS));
}
