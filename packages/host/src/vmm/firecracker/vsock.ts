import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { connectWhenListening } from "../connect.ts";

/** The port that the guest agent listens on. */
const AGENT_PORT = 1024;
/** Longest answer to `CONNECT`: `OK ` and a number of 32 bits. */
const MAX_ANSWER_BYTES = 16;
/** A guest that boots does not listen yet, and there is nothing that would tell when it does. */
const TRY_AGAIN_MS = 50;
/**
 * How long an attempt may go without an answer, in milliseconds. Firecracker gives one up after 2 s, but looks for such only when it is asked for
 * another connection (1.16): an attempt whose request a guest has lost is silent for ever.
 */
const ANSWER_PATIENCE_MS = 10_000;

/**
 * Connects to the agent by Firecracker's vsock device: a line `CONNECT <port>` to its Unix socket, answered by `OK <host port>` when
 * the guest has accepted (docs/vsock.md in its source). Tries until the guest does.
 * @throws whatever `until` was aborted with.
 */
export async function connectAgent(
  path: string,
  until: AbortSignal,
  patienceMs = ANSWER_PATIENCE_MS,
): Promise<Socket> {
  while (true) {
    const socket = await connectWhenListening(path, until);
    if (await isAccepted(socket, until, patienceMs)) return socket;
    socket.destroy();
    await delay(TRY_AGAIN_MS, undefined, { signal: until }).catch(() => until.throwIfAborted());
  }
}

async function isAccepted(socket: Socket, until: AbortSignal, patienceMs: number): Promise<boolean> {
  const verdict = Promise.withResolvers<boolean>();
  const abort = () => verdict.reject(until.reason);
  const ended = () => verdict.resolve(false);
  const silence = setTimeout(ended, patienceMs);
  const read = () => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    const end = bytes.indexOf("\n");
    if (end < 0 && bytes.length < MAX_ANSWER_BYTES) {
      socket.unshift(bytes);
      return;
    }
    if (end < 0 || !/^OK \d+$/.test(bytes.toString("latin1", 0, end))) {
      verdict.reject(new KilnError("VM_FAILED", "Firecracker's vsock device does not speak its protocol"));
      return;
    }
    socket.off("readable", read);
    if (bytes.length > end + 1) socket.unshift(bytes.subarray(end + 1));
    verdict.resolve(true);
  };
  until.addEventListener("abort", abort);
  socket.once("close", ended).on("readable", read);
  try {
    until.throwIfAborted();
    socket.write(`CONNECT ${AGENT_PORT}\n`);
    return await verdict.promise;
  } finally {
    clearTimeout(silence);
    until.removeEventListener("abort", abort);
    socket.off("close", ended).off("readable", read);
  }
}
