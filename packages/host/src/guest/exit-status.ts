import { constants } from "node:os";
import { KilnError } from "../errors.ts";
import type { Exited } from "./gen/kiln/agent/v1/agent.ts";

/** How a program ended: by itself with `code`, or by `signal`. */
export interface ExitStatus {
  /** Exit code, or undefined when a signal ended it. */
  code: number | undefined;
  /** Name of the signal that ended it, such as `SIGKILL`. */
  signal: NodeJS.Signals | undefined;
  /** Whether it was killed because `timeoutMs` had passed. */
  timedOut: boolean;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = constants.signals;
const SIGNAL_NAMES = new Map(
  Object.entries(SIGNAL_NUMBERS).map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** What a shell would report for `status`: the code, or 128 plus the signal's number. */
export function shellExitCode(status: ExitStatus): number {
  if (status.signal !== undefined) return 128 + (SIGNAL_NUMBERS[status.signal] ?? 0);
  return status.code ?? 255;
}

/** @throws KilnError `USAGE` for a name that is no signal's. */
export function signalNumber(name: string): number {
  const number = SIGNAL_NUMBERS[name];
  if (number === undefined) throw new KilnError("USAGE", `unknown signal "${name.slice(0, 32)}"`);
  return number;
}

/** @throws KilnError `GUEST_PROTOCOL` for a signal there is not. */
export function toExitStatus({ status, timedOut }: Exited): ExitStatus {
  const signal = status?.$case === "signal" ? SIGNAL_NAMES.get(status.value) : undefined;
  if (status?.$case === "signal" && signal === undefined) {
    throw new KilnError("GUEST_PROTOCOL", `the guest reported signal ${status.value}`);
  }
  return { code: status?.$case === "code" ? status.value : undefined, signal, timedOut };
}
