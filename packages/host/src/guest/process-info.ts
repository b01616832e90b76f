import { KilnError } from "../errors.ts";
import { type ExitStatus, toExitStatus } from "./exit-status.ts";
import { type ProcessInfo as WireProcessInfo, WhenFull as WireWhenFull } from "./gen/kiln/agent/v1/agent.ts";

/**
 * What becomes of a kept process's output when as much is kept as may be: the process waits until a reader has taken
 * some, or the oldest is dropped.
 */
export type WhenFull = "wait" | "drop-oldest";

/** A kept process, running or ended. */
export interface ProcessInfo {
  id: string;
  /** As it was started; cut where it is longer than 16 KiB. */
  argv: string[];
  /** Its number in the guest. */
  pid: number;
  startedAt: Date;
  terminal: boolean;
  /** Undefined while it runs. */
  exit: ExitStatus | undefined;
  /** Bytes of each output there were so far. */
  stdoutBytes: number;
  stderrBytes: number;
  /** Bytes of standard input its pipe took. */
  stdinBytes: number;
  /** Whether its standard input takes more. */
  stdinOpen: boolean;
  /** Bytes kept of each output. */
  bufferBytes: number;
  whenFull: WhenFull;
}

export const PROCESS_ID = /^[a-z0-9-]{1,64}$/;

/** An offset or size from the guest as a number. @throws KilnError `GUEST_PROTOCOL` beyond 2⁵³. */
export function toSafeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new KilnError("GUEST_PROTOCOL", `the guest reported a size of ${value}`);
  return Number(value);
}

/** @throws KilnError `GUEST_PROTOCOL`. */
export function toProcessInfo(wire: WireProcessInfo): ProcessInfo {
  if (!PROCESS_ID.test(wire.id))
    throw new KilnError("GUEST_PROTOCOL", "the guest reported a process without an id");
  if (wire.bufferBytes === 0)
    throw new KilnError("GUEST_PROTOCOL", "the guest reported a process without a buffer");
  return {
    id: wire.id,
    argv: wire.argv,
    pid: wire.pid,
    startedAt: new Date(Number(wire.startedNs / 1_000_000n)),
    terminal: wire.terminal,
    exit: wire.exited && toExitStatus(wire.exited),
    stdoutBytes: toSafeNumber(wire.stdoutBytes),
    stderrBytes: toSafeNumber(wire.stderrBytes),
    stdinBytes: toSafeNumber(wire.stdinBytes),
    stdinOpen: wire.stdinOpen,
    bufferBytes: wire.bufferBytes,
    whenFull: wire.whenFull === WireWhenFull.WHEN_FULL_DROP_OLDEST ? "drop-oldest" : "wait",
  };
}
