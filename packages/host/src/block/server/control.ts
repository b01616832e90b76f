import type { Socket } from "node:net";
import type { ControlService } from "../../os/server/serve-control.ts";
import { BLOCK_SERVER, ControlRequest } from "../control-protocol.ts";
import type { Disks } from "./disks.ts";

/** The control connections of a server, and what is under way for them. */
export class ControlClients {
  readonly #sockets = new Set<Socket>();
  readonly #underWay = new Set<Promise<unknown>>();

  join(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    return work;
  }

  /** Hangs up on everybody but `socket`, and waits until what they asked for is done: from then on nobody interferes. */
  async claim(socket: Socket): Promise<void> {
    const underWay = [...this.#underWay];
    for (const other of this.#sockets) if (other !== socket) other.destroy();
    await Promise.all(underWay);
  }
}

/** What the block server does when it is asked to. */
export const blockControl = (
  disks: Disks,
  clients: ControlClients,
  stop: () => void,
): ControlService<ControlRequest> => ({
  kind: BLOCK_SERVER,
  request: ControlRequest,
  answer: async (request, socket) => {
    if (request.op !== "claim") return clients.track(carryOut(request, disks, stop));
    await clients.claim(socket);
    return { disks: disks.list() };
  },
});

async function carryOut(
  request: Exclude<ControlRequest, { op: "claim" }>,
  disks: Disks,
  stop: () => void,
): Promise<object> {
  switch (request.op) {
    case "add":
      return disks.add(request.disk);
    case "remove":
      await disks.remove(request.id, request.deleteDiff);
      return {};
    case "seal":
      await disks.seal(request.id);
      return {};
    case "rotate":
      await disks.rotate(request.id, request.diff, request.layers);
      return {};
    case "stats":
      return disks.stats(request.id);
    case "list":
      return { disks: disks.list() };
    case "stop":
      await disks.close();
      setImmediate(stop);
      return {};
  }
}
