import { cpus } from "node:os";

let known: string | undefined;

/** The processor's name. Asked for once: that takes a millisecond, and it is part of what every create looks at. */
export function hostCpu(): string {
  known ??= cpus()[0]?.model ?? "unknown";
  return known;
}
