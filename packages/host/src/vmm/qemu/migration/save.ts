import { createWriteStream } from "node:fs";
import { chmod, open, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { KilnError, systemErrorCode } from "../../../errors.ts";
import { syncDirectory } from "../../../os/atomic-file.ts";
import type { SnapshotFiles } from "../../vmm.ts";
import { DISK_PATIENCE_S } from "../arguments.ts";
import type { QmpClient } from "../qmp.ts";
import { MemoryFile } from "./memory-file.ts";
import { MigrationSplitter } from "./split.ts";

/** QEMU's name for the memory that `-object memory-backend-file,id=memory` is. */
const MAIN_MEMORY = "memory";
/** QEMU holds itself back to 128 MiB a second unless told otherwise. */
const UNLIMITED_BYTES_PER_SECOND = 2 ** 40;
/** Name of the socket QEMU sends to, in the VM's folder. */
const SOCKET = "save";
/** How long QEMU may send nothing, in milliseconds: it may be waiting for its disk's server. */
const SILENCE_MS = 1000 * DISK_PATIENCE_S + 15_000;

/** The VM's folder: its path on the host, and the one QEMU knows it by. */
export interface VmFolder {
  directory: string;
  seenAs: string;
}

/**
 * Has a paused QEMU whose memory is shared with its file write the rest to `stateFile`, which is on stable storage when this
 * resolves.
 */
export async function saveDevices(qmp: QmpClient, folder: VmFolder, stateFile: string): Promise<void> {
  await transfer(qmp, folder, undefined, (socket) =>
    pipeline(socket, createWriteStream(stateFile, { flush: true, mode: 0o600 })),
  );
}

/**
 * Has a paused QEMU send all of it over a socket, and writes guest memory to one file and the rest to another.
 * Both are on stable storage when this resolves; nothing is left of them when it fails.
 */
export async function saveQemu(
  qmp: QmpClient,
  folder: VmFolder,
  memoryBytes: number,
  files: SnapshotFiles,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  await using made = new AsyncDisposableStack();
  try {
    const main = { name: MAIN_MEMORY, bytes: memoryBytes };
    await using memory = await MemoryFile.create(files.memory, main.bytes);
    made.defer(() => rm(files.memory, { force: true }));
    await using state = await open(files.state, "wx", 0o600);
    made.defer(() => rm(files.state, { force: true }));
    const splitter = new MigrationSplitter(main, memory);
    await transfer(qmp, folder, signal, async (socket, alive) => {
      for await (const chunk of socket) {
        alive();
        splitter.push(chunk as Buffer);
        await memory.drain();
      }
    });
    await state.writeFile(splitter.finish());
    await Promise.all([state.sync(), memory.finish()]);
    await syncDirectory(dirname(files.memory));
    made.move();
  } catch (error) {
    if (signal?.aborted) throw new KilnError("CANCELLED", "cancelled while saving a VM", { cause: error });
    if (systemErrorCode(error) === "ENOSPC" || systemErrorCode(error) === "EDQUOT") {
      throw new KilnError("DISK_FULL", "no room to save the VM's memory", { cause: error });
    }
    throw error;
  }
}

/** Migrates to `receive`. When either side fails the other is ended, and both are over when this is. */
async function transfer(
  qmp: QmpClient,
  { directory, seenAs }: VmFolder,
  signal: AbortSignal | undefined,
  receive: (socket: Socket, alive: () => void) => Promise<void>,
): Promise<void> {
  const path = join(directory, SOCKET);
  const stop = new AbortController();
  const giveUp = (reason: unknown) => stop.abort(reason);
  const cancelled = () => giveUp(signal?.reason);
  signal?.addEventListener("abort", cancelled);
  const silent = () => giveUp(new KilnError("TIMEOUT", "QEMU stopped sending its memory"));
  const timer = setTimeout(silent, SILENCE_MS);
  const server = createServer();
  try {
    await listen(server, path);
    // Its folder is closed to all others; QEMU may be another user than this process.
    await chmod(path, 0o666);
    const received = acceptOne(server, stop.signal).then((socket) => receive(socket, () => timer.refresh()));
    const sent = send(qmp, join(seenAs, SOCKET));
    try {
      await Promise.all([received, sent]);
    } catch (error) {
      giveUp(error);
      await qmp.execute("migrate_cancel").catch(() => undefined); // QEMU is gone, or has ended it by itself.
      await Promise.allSettled([received, sent]);
      throw error;
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancelled);
    server.close();
    await rm(path, { force: true });
  }
}

async function listen(server: Server, path: string): Promise<void> {
  // What an owner that was killed has left here.
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}

/** The connection QEMU makes. It ends with the reason that `until` is aborted with. */
function acceptOne(server: Server, until: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    until.addEventListener("abort", () => reject(until.reason));
    server.once("connection", (socket) => {
      until.addEventListener("abort", () => socket.destroy(until.reason));
      resolve(socket);
    });
  });
}

/** Resolves when QEMU has sent everything. */
async function send(qmp: QmpClient, path: string): Promise<void> {
  const ended = qmp.waitFor("MIGRATION", ({ status }) => typeof status === "string" && ENDS.has(status));
  ended.catch(() => undefined);
  await Promise.all([
    qmp.execute("migrate-set-parameters", { "max-bandwidth": UNLIMITED_BYTES_PER_SECOND }),
    qmp.execute("migrate", { uri: `unix:${path}` }),
  ]);
  const { status } = await ended;
  if (status !== "completed") throw new KilnError("VM_FAILED", `QEMU could not send its memory: ${status}`);
}

const ENDS = new Set(["completed", "failed", "cancelled"]);
