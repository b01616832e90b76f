import { hash } from "node:crypto";
import { KilnError } from "../../errors.ts";

/** SHA-256 as 64 hexadecimal digits. */
export type Digest = string;

export const DIGEST = /^[0-9a-f]{64}$/;

export const digestOf = (bytes: Uint8Array): Digest => hash("sha256", bytes, "hex");

/** @throws KilnError `STORE_DAMAGED` when `bytes` are not what their address says. @returns them. */
export function checkDigest<T extends Uint8Array>(what: string, bytes: T, expected: Digest): T {
  if (digestOf(bytes) !== expected) throw damaged(what, "its content is not what its address says");
  return bytes;
}

/** What the store holds and must not be used. */
export function damaged(what: string, why: string, cause?: unknown): KilnError {
  return new KilnError("STORE_DAMAGED", `${what} in the store is damaged or was altered: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "kiln store verify finds everything that is damaged; push the template again",
    details: { object: what },
  });
}
