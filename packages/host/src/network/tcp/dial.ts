import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { systemErrorCode } from "../../errors.ts";
import { formatIpv4, type Ipv4 } from "../address.ts";

/** How long the other side may take to answer, in milliseconds. */
const TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;

/** An attempt to reach the other side of a connection. */
export interface Dialing {
  /** Gives it up; nothing is called any more. */
  cancel(): void;
}

/** `refused` by the machine that was asked, or nobody could be asked at all. */
export type DialFailure = "refused" | "unreachable";

/** Connects to an address; exactly one of the two is called, later. */
export function dial(
  address: Ipv4,
  port: number,
  onOpen: (upstream: Duplex) => void,
  onFailure: (why: DialFailure) => void,
): Dialing {
  const socket = connect({ host: formatIpv4(address), port, allowHalfOpen: true, noDelay: true });
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  const timer = setTimeout(() => fail("unreachable"), TIMEOUT_MS);
  const settle = () => {
    clearTimeout(timer);
    socket.off("error", onError);
    socket.off("connect", onConnect);
  };
  const fail = (why: DialFailure) => {
    settle();
    socket.on("error", () => undefined);
    socket.destroy();
    onFailure(why);
  };
  const onError = (error: Error) =>
    fail(systemErrorCode(error) === "ECONNREFUSED" ? "refused" : "unreachable");
  const onConnect = () => {
    settle();
    onOpen(socket);
  };
  socket.on("error", onError);
  socket.on("connect", onConnect);
  return {
    cancel: () => {
      settle();
      socket.on("error", () => undefined);
      socket.destroy();
    },
  };
}
