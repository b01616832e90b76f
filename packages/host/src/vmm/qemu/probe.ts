import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { promisify } from "node:util";
import { z } from "zod";
import { KilnError } from "../../errors.ts";
import { writeFileAtomic } from "../../os/atomic-file.ts";
import { findCommand } from "../../os/find-command.ts";
import { hostCpu } from "../../os/host-cpu.ts";
import { diesWithOwner } from "../../os/owned-process.ts";
import { hearProbe, type Verdict } from "../hear-probe.ts";
import { Isolation } from "../jail/isolation.ts";
import { probeIsolation } from "../jail/probe-isolation.ts";
import { type Accelerator, NO_CMOS_CLOCK } from "./arguments.ts";

const BINARY = "qemu-system-x86_64";

const Probe = z.object({
  /** What the findings hold for: when any of it changes they are found out anew. */
  subject: z.object({
    binary: z.string(),
    binarySize: z.number(),
    binaryModifiedMs: z.number(),
    hostKernel: z.string(),
    hostCpu: z.string(),
    kvmDevice: z.boolean(),
    guestKernel: z.string(),
    user: z.int(),
  }),
  version: z.string(),
  accelerator: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("kvm") }),
    z.object({ kind: z.literal("tcg"), tscKhz: z.int().min(100_000).max(20_000_000) }),
  ]),
  /** Why this accelerator, one sentence. */
  reason: z.string(),
  /** From when on KVM is worth another try, in milliseconds since the epoch; without it, when the subject changes. */
  tryAgainAtMs: z.number().optional(),
  isolation: Isolation,
});

/** What was found out about QEMU on this host. */
export type QemuProbe = z.infer<typeof Probe>;

/** Path of QEMU on this machine. */
function findQemu(): string {
  const path = findCommand(BINARY);
  if (path !== undefined) return path;
  throw new KilnError("HOST_UNSUPPORTED", `${BINARY} is not installed`, {
    hint: "apt-get install qemu-system-x86",
  });
}

/**
 * Which QEMU this is and whether KVM works with it, remembered in `file`. A device node proves nothing: on some
 * nested hosts it opens, makes virtual CPUs, and no guest ever boots. So a kernel is booted for a moment. That KVM took too long is
 * not believed for ever.
 *
 * @param guestAgent gives the path of the guest agent, which can measure the time stamp counter; not called when all is known.
 */
export async function probeQemu(
  file: string,
  kernel: { key: string; vmlinuz: string; initrd: string },
  guestAgent: () => Promise<string>,
  signal?: AbortSignal,
): Promise<QemuProbe> {
  const subject = describeSubject(kernel);
  const known = readProbe(file);
  if (known && isAbout(known, subject) && Date.now() < (known.tryAgainAtMs ?? Number.POSITIVE_INFINITY))
    return known;

  const version = await qemuVersion(subject.binary);
  const { kind, ...verdict } = await chooseAccelerator(subject, kernel, signal);
  const accelerator: Accelerator =
    kind === "kvm" ? { kind } : { kind, tscKhz: await measureTsc(await guestAgent()) };
  const isolation = await probeIsolation(subject.binary);
  const probe: QemuProbe = { subject, version, accelerator, ...verdict, isolation };
  await writeFileAtomic(file, `${JSON.stringify(probe, undefined, 2)}\n`);
  return probe;
}

/** What was found out about the present QEMU with `kernel`, worth another try or not; undefined when nothing was. Nothing is tried. */
export function knownProbe(file: string, kernel: { key: string }): QemuProbe | undefined {
  const known = readProbe(file);
  return known && isAbout(known, describeSubject(kernel)) ? known : undefined;
}

/** What was found out last, whatever it was about. */
export function readProbe(file: string): QemuProbe | undefined {
  return Probe.safeParse(readJson(file)).data;
}

const isAbout = (probe: QemuProbe, subject: QemuProbe["subject"]) =>
  JSON.stringify(probe.subject) === JSON.stringify(subject);

function describeSubject(kernel: { key: string }): QemuProbe["subject"] {
  const binary = findQemu();
  const { size, mtimeMs } = statSync(binary);
  return {
    binary,
    binarySize: size,
    binaryModifiedMs: mtimeMs,
    hostKernel: release(),
    hostCpu: hostCpu(),
    kvmDevice: mayOpenKvm(),
    guestKernel: kernel.key,
    user: process.geteuid?.() ?? -1,
  };
}

function mayOpenKvm(): boolean {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined; // Absent or damaged: found out again.
  }
}

async function qemuVersion(binary: string): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, ["--version"]);
  const version = /version (\S+)/.exec(stdout)?.[1];
  if (version === undefined) throw new KilnError("HOST_UNSUPPORTED", `${binary} does not tell its version`);
  return version;
}

/** Rate of this machine's time stamp counter in kHz. */
async function measureTsc(guestAgent: string): Promise<number> {
  const { stdout } = await promisify(execFile)(guestAgent, ["--measure-tsc"]);
  return Number(stdout);
}

async function chooseAccelerator(
  subject: QemuProbe["subject"],
  kernel: { vmlinuz: string; initrd: string },
  signal: AbortSignal | undefined,
): Promise<{ kind: Accelerator["kind"]; reason: string; tryAgainAtMs?: number }> {
  if (!subject.kvmDevice) {
    return { kind: "tcg", reason: "/dev/kvm is absent or this user may not open it" };
  }
  const verdict = await tryKvm(subject.binary, kernel, signal);
  if (verdict.boots) return { kind: "kvm", reason: "a guest kernel booted under KVM" };
  const { boots: _, why, ...until } = verdict;
  return { kind: "tcg", reason: `/dev/kvm is there, but ${why}`, ...until };
}

/** Boots the kernel under KVM as far as its initramfs. */
function tryKvm(
  binary: string,
  kernel: { vmlinuz: string; initrd: string },
  signal: AbortSignal | undefined,
): Promise<Verdict> {
  const command = diesWithOwner(binary, [
    ...["-M", "microvm,acpi=on", "-accel", "kvm", "-cpu", "host", "-m", "256M"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-action", "reboot=shutdown"],
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-kernel", kernel.vmlinuz, "-initrd", kernel.initrd],
    ...["-append", `console=ttyS0 earlyprintk=serial,ttyS0 reboot=t panic=-1 ${NO_CMOS_CLOCK} kiln.probe`],
  ]);
  return hearProbe("QEMU", command, signal);
}
