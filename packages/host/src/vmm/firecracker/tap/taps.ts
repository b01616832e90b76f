import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { KilnError } from "../../../errors.ts";
import { firstLine } from "../../../os/first-line.ts";
import { Launcher } from "../../jail/launcher.ts";
import { Access } from "../../jail/open-to.ts";
import { Spares } from "../../spares.ts";

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
  device: ChildProcess;
  launcher: Launcher;
}

/** This process's links ahead of the VMs that will have them. What is not taken ends with this process. */
export class Taps {
  readonly #spares = new Spares(
    startLink,
    ({ device, launcher }) => launcher.isAlive && device.exitCode === null && device.signalCode === null,
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
      launcher.end();
      await end(device);
    };
    failed.defer(stop);
    const input = inputOf(device);
    input.write(`take ${uid} ${encodeURIComponent(directory)}\n`);
    await hear(device, "ok");
    // From here on it ends with the launcher, and the VMM after that.
    input.destroy();
    failed.move();
    return { pid: Number(device.pid), launcher, stop };
  }
}

/** The link ends with the last process that has this open: the launcher has it as well. */
function inputOf({ stdin }: ChildProcess): Socket {
  if (stdin instanceof Socket) return stdin;
  throw new KilnError("INTERNAL", "a link has no input");
}

async function startLink(): Promise<SpareLink> {
  const device = await start();
  try {
    const launcher = await Launcher.start({
      ownView: true,
      networkOf: device.pid,
      inherited: inputOf(device),
    });
    return { device, launcher };
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

async function start(): Promise<ChildProcess> {
  // A session of its own: it may outlive this process.
  const child = spawn("perl", [SCRIPT], {
    stdio: ["pipe", "pipe", "ignore"],
    detached: true,
  });
  child.stdin.on("error", () => undefined); // Its end tells more.
  try {
    await hear(child, "ready");
  } catch (error) {
    await end(child);
    throw error;
  }
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child;
}

/** Waits for a line; the process is a reason for this one to stay for that long. @throws KilnError with what it says instead. */
async function hear(child: ChildProcess, expected: string): Promise<void> {
  const { stdout } = child;
  if (!(stdout instanceof Socket)) throw new KilnError("INTERNAL", "a link's process has no output");
  stdout.ref();
  try {
    const line = await firstLine(child);
    if (line === expected) return;
    throw new KilnError("NETWORK_FAILED", `a guest's link could not be made: ${line.replace(/^error /, "")}`);
  } catch (cause) {
    if (cause instanceof KilnError) throw cause;
    throw new KilnError("NETWORK_FAILED", "a guest's link could not be made", { cause });
  } finally {
    stdout.unref();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.ref();
  child.kill("SIGKILL");
  await exited;
}
