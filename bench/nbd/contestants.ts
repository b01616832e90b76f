import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { BlockServer } from "../../packages/host/src/block/block-server.ts";

const START_TIMEOUT_MS = 10_000;
/** Clock ticks of /proc/PID/stat; 100 on every Linux. */
const TICKS_PER_SECOND = 100;

/** A server with a copy-on-write disk over the base image. */
export interface Contestant extends AsyncDisposable {
  readonly name: "kiln" | "nbdkit" | "qemu-nbd";
  readonly uri: string;
  /** Processor time the server has used so far, in milliseconds. */
  cpuMs(): Promise<number>;
}

async function cpuMsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

export async function startKiln(folder: string, base: string, signal: AbortSignal): Promise<Contestant> {
  const server = await BlockServer.start({ directory: join(folder, "kiln"), signal });
  try {
    const disk = await server.addDisk({ id: "bench", base, diff: join(folder, "kiln", "diff") });
    return {
      name: "kiln",
      uri: `nbd+unix:///${disk.nbd.exportName}?socket=${disk.nbd.socketPath}`,
      cpuMs: () => cpuMsOf(server.pid),
      [Symbol.asyncDispose]: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** nbdkit's file plugin below its copy-on-write filter. */
export function startNbdkit(folder: string, base: string, signal: AbortSignal): Promise<Contestant> {
  const socket = join(folder, "nbdkit.sock");
  return startPeer("nbdkit", ["-U", socket, "-f", "--filter=cow", "file", base], socket, signal);
}

/** qemu-nbd on a qcow2 overlay. */
export async function startQemuNbd(folder: string, base: string, signal: AbortSignal): Promise<Contestant> {
  const socket = join(folder, "qemu.sock");
  const overlay = join(folder, "overlay.qcow2");
  await promisify(execFile)("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay], {
    signal,
  });
  const args = ["-k", socket, "-f", "qcow2", "-e", "8", "-t", "--cache=writeback", "--aio=threads", overlay];
  return startPeer("qemu-nbd", args, socket, signal);
}

async function startPeer(
  name: "nbdkit" | "qemu-nbd",
  args: readonly string[],
  socket: string,
  signal: AbortSignal,
): Promise<Contestant> {
  const child = spawn(name, args, { stdio: "ignore" });
  const failed = once(child, "error").then(([error]) => {
    throw error;
  });
  failed.catch(() => undefined);
  const uri = `nbd+unix:///?socket=${socket}`;
  try {
    await Promise.race([failed, answering(child, uri, signal)]);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    name,
    uri,
    cpuMs: () => cpuMsOf(child.pid ?? 0),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

/** Waits until the server has its socket. Neither peer says when; `nbdinfo` asks as a client would. */
async function answering(child: ChildProcess, uri: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      await promisify(execFile)("nbdinfo", ["--size", uri], { signal });
      return;
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}
