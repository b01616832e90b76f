import { dirname } from "node:path";
import type { VmConfig } from "../vmm.ts";

/** What runs the guest's instructions: the processor, or QEMU's emulation of one. */
export type Accelerator =
  | { kind: "kvm" }
  | {
      kind: "tcg";
      /** Rate of the host's time stamp counter, which an emulated guest reads, in kHz. */
      tscKhz: number;
    };

/**
 * For a kernel under KVM: a microvm has no battery clock there, and the kernel waits a second and ten thousand port accesses, interrupts
 * off, for an absent one to be ready. The time comes from the paravirtual clock.
 */
export const NO_CMOS_CLOCK = "initcall_blacklist=cmos_init";

/** Name of the virtio-serial port the guest agent listens on. */
const AGENT_PORT = "kiln.agent";

/**
 * Translated code that QEMU keeps under software emulation, in MiB: a part of the guest's memory, within limits. What is touched of it is private
 * memory of every VM. When it is full QEMU throws all of it away: with 128 the work of a guest of 5 GiB that runs much took two to six times as long as with 512.
 */
const TRANSLATION_CACHE = { part: 1 / 8, leastMib: 128, mostMib: 512 };

/**
 * Everything QEMU emulates but what is slower emulated than done without: "fast" string moves, which go byte by byte,
 * and a fifth level of page tables.
 */
const EMULATED_CPU = "max,-erms,-la57";

/**
 * The link's card. Every guest has a link of its own, so one address serves all. Large packets save most of what a packet costs
 * under emulation, and still fit in an allocation of 16 KiB. What a card can be told while it runs (filters, further addresses, offloads) is
 * left out: nobody is there to be told.
 */
const NETWORK_CARD = [
  "virtio-net-device,netdev=network,mac=02:4b:69:6c:6e:02,host_mtu=15360",
  "guest_announce=off,ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,ctrl_guest_offloads=off",
].join(",");

/** Files and sockets of one VM. */
export interface VmPaths {
  qmpSocket: string;
  agentSocket: string;
  /** Where the host's network server finds the guest's link. */
  networkSocket: string;
  /** Where the guest's console goes; none for a VM that runs a user's code, which could fill the disk with it. */
  consoleLog: string | undefined;
}

/**
 * A microvm has no timer to hold the counter against but the one an emulated guest misses on a busy host, and with ACPI
 * no tick before the counter's rate is known: such a boot never ends. So the kernel is told the rate.
 *
 * QEMU finds translated code by its virtual address: where programs are at random ones, each start of a program has all of it
 * translated again, which is three quarters of the time of a small one.
 */
function kernelCommandLine(accelerator: Accelerator): string {
  const special =
    accelerator.kind === "tcg"
      ? `tsc=reliable tsc_early_khz=${accelerator.tscKhz} norandmaps`
      : NO_CMOS_CLOCK;
  return `console=ttyS0 quiet reboot=t panic=-1 mitigations=off ${special}`;
}

/** How the accelerator and the CPU model are named to QEMU. Part of a snapshot's identity. */
export function machineArguments(accelerator: Accelerator, memoryMib: number): string[] {
  if (accelerator.kind === "kvm") return ["-accel", "kvm", "-cpu", "host"];
  const { part, leastMib, mostMib } = TRANSLATION_CACHE;
  const cacheMib = Math.min(Math.max(Math.floor(memoryMib * part), leastMib), mostMib);
  return ["-accel", `tcg,thread=multi,tb-size=${cacheMib}`, "-cpu", EMULATED_CPU];
}

/**
 * How long QEMU waits for its disk's server when that is gone, in seconds. It tries again at ever longer intervals, and one that is told to stand
 * still, to be saved or taken up, answers nothing before its last request has.
 */
export const DISK_PATIENCE_S = 30;

/** QEMU's option values are comma-separated: a comma in one is written twice. */
const quote = (value: string): string => value.replaceAll(",", ",,");

const NAME_PREFIX = "kiln:";

/** Arguments that tell in a list of processes which VM this is. */
export const nameArguments = (directory: string): string[] => ["-name", `${NAME_PREFIX}${quote(directory)}`];

const CONTROL_SOCKET = { before: "socket,id=qmp,path=", after: ",server=on,wait=off" };

/** What a command line made of `nameArguments` and `qemuArguments` tells, or undefined for any other. */
export function readCommandLine(words: readonly string[]): { directory: string; seenAs: string } | undefined {
  const { before, after } = CONTROL_SOCKET;
  const name = words[words.indexOf("-name") + 1];
  const socket = words.find((word) => word.startsWith(before) && word.endsWith(after));
  if (!name?.startsWith(NAME_PREFIX) || socket === undefined) return undefined;
  const directory = name.slice(NAME_PREFIX.length).replaceAll(",,", ",");
  const control = socket.slice(before.length, -after.length).replaceAll(",,", ",");
  return { directory, seenAs: dirname(control) };
}

/**
 * The microvm machine with a disk, a serial port to the agent, a network link and nothing else. The order of devices is part of a
 * snapshot's format.
 */
export function qemuArguments(
  config: VmConfig,
  accelerator: Accelerator,
  memory: { file: string; shared: boolean; readOnly?: boolean },
  paths: VmPaths,
): string[] {
  const { memoryMib, vcpu, kernel, disk } = config;
  const access = `share=${memory.shared ? "on" : "off"}${memory.readOnly ? ",readonly=on,rom=off" : ""}`;
  const console =
    paths.consoleLog === undefined ? "null,id=console" : `file,id=console,path=${quote(paths.consoleLog)}`;
  const nbd = [
    "driver=nbd,node-name=disk",
    "server.type=unix",
    `server.path=${quote(disk.socketPath)}`,
    `export=${quote(disk.exportName)}`,
    "discard=unmap,detect-zeroes=unmap",
    `reconnect-delay=${DISK_PATIENCE_S}`,
  ].join(",");
  return [
    ...["-M", "microvm,acpi=on,memory-backend=memory"],
    ...machineArguments(accelerator, memoryMib),
    ...["-smp", String(vcpu)],
    ...["-m", `${memoryMib}M`],
    ...[
      "-object",
      `memory-backend-file,id=memory,size=${memoryMib}M,mem-path=${quote(memory.file)},${access}`,
    ],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-action", "reboot=shutdown"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-chardev", console, "-serial", "chardev:console"],
    // A guest that goes on from a snapshot has its kernel in memory; QEMU would keep another 14 MB of it for each.
    ...(memory.shared
      ? ["-kernel", kernel.vmlinuz, "-initrd", kernel.initrd, "-append", kernelCommandLine(accelerator)]
      : []),
    // Errors are the guest's to deal with: QEMU would stop it for good on a disk that has no room left.
    ...["-blockdev", nbd, "-device", "virtio-blk-device,drive=disk,werror=report,rerror=report"],
    ...["-device", "virtio-serial-device,max_ports=2"],
    ...["-chardev", `socket,id=agent,path=${quote(paths.agentSocket)},server=on,wait=off`],
    ...["-device", `virtserialport,chardev=agent,nr=1,name=${AGENT_PORT}`],
    // QEMU listens for the network server, which may come late, or die and be replaced.
    ...["-netdev", `stream,id=network,server=on,addr.type=unix,addr.path=${quote(paths.networkSocket)}`],
    ...["-device", NETWORK_CARD],
    ...["-chardev", CONTROL_SOCKET.before + quote(paths.qmpSocket) + CONTROL_SOCKET.after],
    ...["-mon", "chardev=qmp,mode=control"],
  ];
}

/** What a snapshot taken with these arguments depends on, apart from its files. */
export function argumentsIdentity({ kind }: Accelerator): string {
  // The counter's rate is in the identity as such: to the kHz it differs between measurements on one host.
  const accelerator: Accelerator = kind === "tcg" ? { kind, tscKhz: 0 } : { kind };
  const placeholder: VmConfig = {
    directory: "",
    vcpu: 0,
    memoryMib: 0,
    kernel: { vmlinuz: "", initrd: "" },
    disk: { socketPath: "", exportName: "" },
  };
  const paths: VmPaths = { qmpSocket: "", agentSocket: "", networkSocket: "", consoleLog: undefined };
  return qemuArguments(placeholder, accelerator, { file: "", shared: true }, paths).join(" ");
}
