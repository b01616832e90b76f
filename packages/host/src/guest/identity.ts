import { randomBytes } from "node:crypto";
import type { Identity } from "./gen/kiln/agent/v1/agent.ts";

const ENTROPY_BYTES = 64;

/**
 * What tells one sandbox from all others, made anew for every boot and every resume. `maxProcesses` is
 * how many processes and threads it may have; 0 leaves the limit as it is.
 */
export function makeIdentity(hostname: string, { maxProcesses = 0 } = {}): Identity {
  return {
    entropy: randomBytes(ENTROPY_BYTES),
    wallClockNs: BigInt(Math.round((performance.timeOrigin + performance.now()) * 1_000)) * 1_000n,
    hostname,
    machineId: randomBytes(16).toString("hex"),
    maxProcesses,
  };
}
