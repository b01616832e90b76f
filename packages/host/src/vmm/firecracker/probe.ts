import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
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
import { BINARY, HOW_TO_INSTALL } from "./applies.ts";
import { ensureVmlinux } from "./kernel-image.ts";
import { checkNbdModule } from "./nbd/module.ts";
import { checkTaps } from "./tap/taps.ts";

/** Earlier ones lose connections to the guest when they resume a snapshot. */
const MIN_VERSION = [1, 16, 1] as const;
/** How long it may take to tell its version, in milliseconds. */
const VERSION_PATIENCE_MS = 30_000;
const PROBE_MEMORY_MIB = 256;

/** What findings hold for: when any of it changes they are found out anew. */
const Subject = z.object({
  binary: z.string(),
  binarySize: z.number(),
  binaryModifiedMs: z.number(),
  hostKernel: z.string(),
  hostCpu: z.string(),
  guestKernel: z.string(),
});

const Probe = z.object({
  subject: Subject,
  version: z.string(),
  isolation: Isolation,
});

/** Why it did not work when it was tried. Kept beside what is known of one that did, which may run VMs still. */
const Refusal = z.object({
  subject: Subject,
  message: z.string(),
  hint: z.string().optional(),
  /** From when on it is worth another try, in milliseconds since the epoch; without it, when the subject changes. */
  tryAgainAtMs: z.number().optional(),
});

/** Names a file for what was found out about an engine. */
export type ProbeFile = (engine: string) => string;
const fileOf = (probeFile: ProbeFile) => probeFile("firecracker");
const refusalOf = (probeFile: ProbeFile) => probeFile("firecracker-refusal");

/** What was found out about Firecracker on this host, where it works. */
export type FirecrackerProbe = z.infer<typeof Probe>;

/**
 * Which Firecracker this is, remembered once a kernel has booted under it; why it did not is remembered as well.
 * @throws KilnError `HOST_UNSUPPORTED` saying what is missing: the binary, its version, root, the nbd module, a KVM that works.
 */
export async function probeFirecracker(
  probeFile: ProbeFile,
  kernel: { key: string; vmlinuz: string; initrd: string },
  signal?: AbortSignal,
): Promise<FirecrackerProbe> {
  const subject = await describeSubject(kernel);
  checkNbdModule();
  const known = await readFirecrackerProbe(probeFile);
  if (known && isAbout(known, subject)) return known;
  const refuse = async (error: KilnError, tryAgainAtMs?: number): Promise<never> => {
    const refusal = { subject, message: error.message, hint: error.hint, tryAgainAtMs };
    await writeJson(refusalOf(probeFile), refusal);
    throw error;
  };
  const probe = await lookAt(subject).catch((error: unknown) => {
    if (error instanceof KilnError && error.code === "HOST_UNSUPPORTED") return refuse(error);
    throw error;
  });
  const verdict = await tryBoot(subject.binary, kernel, signal);
  if (!verdict.boots) {
    const error = unsupported(verdict.why, "kiln doctor says what works on this host");
    return refuse(error, verdict.tryAgainAtMs);
  }
  await writeJson(fileOf(probeFile), probe);
  await rm(refusalOf(probeFile), { force: true });
  return probe;
}

const writeJson = (file: string, value: z.input<typeof Probe> | z.input<typeof Refusal>) =>
  writeFileAtomic(file, `${JSON.stringify(value, undefined, 2)}\n`);

/** All there is to know but whether a guest boots. */
async function lookAt(subject: FirecrackerProbe["subject"]): Promise<FirecrackerProbe> {
  const version = await versionOf(subject.binary);
  const isolation = await probeIsolation("/usr/bin/setpriv");
  if (!isolation.ownUser || !isolation.ownView) {
    throw unsupported(
      `it cannot be locked up here: ${isolation.reason ?? "no reason given"}`,
      "run Kiln as root",
    );
  }
  await checkTaps();
  return { subject, version, isolation };
}

/** What was found out about the present Firecracker with `kernel`, or undefined: nothing is tried. */
export async function knownFirecrackerProbe(
  probeFile: ProbeFile,
  kernel: { key: string },
): Promise<FirecrackerProbe | undefined> {
  const known = await readFirecrackerProbe(probeFile);
  if (!known || findCommand(BINARY) === undefined) return undefined;
  return isAbout(known, await describeSubject(kernel)) ? known : undefined;
}

/** Why a Firecracker was refused, and whether that may be another by now. */
export interface KnownRefusal {
  reason: KilnError;
  isWorthAnotherTry: boolean;
}

/** Why the present Firecracker, which is installed, did not work with `kernel` when it was tried, or undefined. */
export async function knownFirecrackerRefusal(
  probeFile: ProbeFile,
  kernel: { key: string },
): Promise<KnownRefusal | undefined> {
  const { data: known } = Refusal.safeParse(await readJson(refusalOf(probeFile)));
  if (!known || !isAbout(known, await describeSubject(kernel))) return undefined;
  const { message, hint, tryAgainAtMs = Number.POSITIVE_INFINITY } = known;
  return {
    reason: new KilnError("HOST_UNSUPPORTED", message, hint === undefined ? {} : { hint }),
    isWorthAnotherTry: Date.now() >= tryAgainAtMs,
  };
}

/** What was found out last, whatever it was about. */
export async function readFirecrackerProbe(probeFile: ProbeFile): Promise<FirecrackerProbe | undefined> {
  return Probe.safeParse(await readJson(fileOf(probeFile))).data;
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch {
    return undefined; // Absent or damaged: found out again.
  }
}

const isAbout = (probe: Pick<FirecrackerProbe, "subject">, subject: FirecrackerProbe["subject"]) =>
  JSON.stringify(probe.subject) === JSON.stringify(subject);

const unsupported = (why: string, hint: string) =>
  new KilnError("HOST_UNSUPPORTED", `Firecracker cannot be used: ${why}`, { hint });

async function describeSubject(kernel: { key: string }): Promise<FirecrackerProbe["subject"]> {
  const binary = findCommand(BINARY);
  if (binary === undefined) throw unsupported("it is not installed", HOW_TO_INSTALL);
  const { size, mtimeMs } = await stat(binary);
  return {
    binary,
    binarySize: size,
    binaryModifiedMs: mtimeMs,
    hostKernel: release(),
    hostCpu: hostCpu(),
    guestKernel: kernel.key,
  };
}

async function versionOf(binary: string): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, ["--version"], { timeout: VERSION_PATIENCE_MS }).catch(
    (error: Error) => {
      throw unsupported(`${binary} does not run: ${error.message}`, HOW_TO_INSTALL);
    },
  );
  const version = /Firecracker v((\d+)\.(\d+)\.(\d+)\S*)/.exec(stdout);
  if (version?.[1] === undefined) throw unsupported(`${binary} does not tell its version`, HOW_TO_INSTALL);
  if (isOlder(version.slice(2, 5).map(Number), MIN_VERSION)) {
    throw unsupported(
      `${binary} is version ${version[1]}; ${MIN_VERSION.join(".")} is the first that will do`,
      HOW_TO_INSTALL,
    );
  }
  return version[1];
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  const place = than.findIndex((part, index) => part !== version[index]);
  return place >= 0 && (version[place] ?? 0) < (than[place] ?? 0);
}

/** Boots the kernel as far as its initramfs. */
async function tryBoot(
  binary: string,
  kernel: { vmlinuz: string; initrd: string },
  signal: AbortSignal | undefined,
): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-probe-"));
  try {
    const config = join(folder, "config.json");
    const boot_source = {
      kernel_image_path: await ensureVmlinux(kernel.vmlinuz),
      initrd_path: kernel.initrd,
      boot_args: "console=ttyS0 earlyprintk=serial,ttyS0 reboot=k panic=-1 pci=off kiln.probe",
    };
    const machine = { vcpu_count: 1, mem_size_mib: PROBE_MEMORY_MIB };
    await writeFile(
      config,
      JSON.stringify({ "boot-source": boot_source, "machine-config": machine, drives: [] }),
    );
    return await hearProbe(
      "Firecracker",
      diesWithOwner(binary, ["--no-api", "--config-file", config, "--level", "Error"]),
      signal,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
