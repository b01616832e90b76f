import { stat } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../../../errors.ts";
import { Launcher } from "../../jail/launcher.ts";
import { Access } from "../../jail/open-to.ts";
import { Spares } from "../../spares.ts";
import type { ForkedProcess } from "../../zygote/forked-process.ts";
import { Zygote } from "../../zygote/zygote.ts";

/** What makes tap devices. */
export const TUN = "/dev/net/tun";
const SCRIPT = join(import.meta.dirname, "tap.pl");
/** Name of every guest's device: each is in a network namespace of its own. */
export const TAP = "tap0";

/** A guest's link: a tap device alone in a network namespace, the process that passes its frames on, and one in the namespace that becomes the VMM. */
export interface TapLink {
  /** Of the process that passes frames on. */
  readonly pid: number;
  readonly launcher: Launcher;
  stop(): Promise<void>;
}

interface SpareLink {
  device: ForkedProcess;
  launcher: Launcher;
}

/** This process's links ahead of the VMs that will have them. What is not taken ends with this process. */
export class Taps {
  readonly #spares = new Spares(
    startLink,
    ({ device, launcher }) => launcher.process.isAlive && device.isAlive,
  );

  /** Makes some ahead. A failure shows in whoever needs one. */
  warm(): void {
    this.#spares.warm();
  }

  /**
   * Gives the VM in `directory`, whose VMM runs as `uid`, a link. The network server finds it at `network` in there.
   * @param options see `Spares.take`.
   * @throws KilnError `NETWORK_FAILED`, `VM_FAILED` when no VMM can be locked up.
   */
  async take(
    directory: string,
    uid: number,
    options: { isNew?: boolean | undefined } = {},
  ): Promise<TapLink> {
    const { device, launcher } = await this.#spares.take(options);
    await using failed = new AsyncDisposableStack();
    const stop = async () => {
      launcher.process.kill();
      await end(device);
    };
    failed.defer(stop);
    device.write(`take ${uid} ${encodeURIComponent(directory)}\n`);
    await hear(device, "ok");
    // From here on it ends with the launcher, which has its input as well, and the VMM after that.
    device.closeInput();
    failed.move();
    return { pid: Number(device.pid), launcher, stop };
  }
}

async function startLink(): Promise<SpareLink> {
  const device = await start();
  try {
    return { device, launcher: await Launcher.start({ ownView: true, linkedTo: device }) };
  } catch (error) {
    await end(device);
    throw error;
  }
}

/** Whether this host makes links that a VM's own user may use. @throws KilnError `HOST_UNSUPPORTED`. */
export async function checkTaps(): Promise<void> {
  try {
    await end(await start());
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError("HOST_UNSUPPORTED", `Firecracker cannot be used: ${why}`, {
      cause,
      hint: "modprobe tun",
    });
  }
  const { mode } = await stat(TUN);
  if ((mode & Access.readAndWrite) === Access.readAndWrite) return;
  throw new KilnError("HOST_UNSUPPORTED", `Firecracker cannot be used: ${TUN} is not for every user`, {
    hint: `chmod 666 ${TUN}, as device managers have it: it gives nobody a device that is not his`,
  });
}

async function start(): Promise<ForkedProcess> {
  const device = (await Zygote.get()).fork(SCRIPT, []);
  try {
    await hear(device, "ready");
    return device;
  } catch (error) {
    await end(device);
    throw error;
  }
}

/** Waits for a line. @throws KilnError with what it says instead. */
async function hear(device: ForkedProcess, expected: string): Promise<void> {
  let line: string;
  try {
    line = await device.line();
  } catch (cause) {
    throw new KilnError("NETWORK_FAILED", "a guest's link could not be made", { cause });
  }
  if (line === expected) return;
  throw new KilnError("NETWORK_FAILED", `a guest's link could not be made: ${line.replace(/^error /, "")}`);
}

async function end(device: ForkedProcess): Promise<void> {
  device.keepOwner();
  device.kill();
  await device.ended;
}
