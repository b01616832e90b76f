import type { Uses } from "../os/in-use.ts";
import type { OnProgress } from "../progress.ts";

/** What is common to everything that is built with podman. */
export interface BuildOptions {
  onProgress?: OnProgress | undefined;
  signal?: AbortSignal | undefined;
  /** How long one step may take, in milliseconds. @default no limit */
  stepTimeoutMs?: number | undefined;
  /** Keeps what is found or built from being removed, as long as its owner holds it. */
  uses?: Uses | undefined;
}

/** What ends a container build before its time. */
export function limitsOf({ signal, stepTimeoutMs }: BuildOptions): {
  signal?: AbortSignal;
  stepTimeoutMs?: number;
} {
  return { ...(signal ? { signal } : {}), ...(stepTimeoutMs === undefined ? {} : { stepTimeoutMs }) };
}
