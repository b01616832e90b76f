import { KilnError, type KilnErrorOptions, systemErrorCode } from "../errors.ts";

/**
 * What programs say of a write that found no room: strerror(3) of ENOSPC and EDQUOT. Podman that cannot write a layer
 * down tells of the reader alone, which finds its pipe closed (seen with 4.3).
 */
const NO_SPACE =
  /no space left on device|disk quota exceeded|storing layer "\w+" to file: io: read\/write on closed pipe/i;
export const NO_SPACE_HINT =
  "free some, for one by kiln template rm, or point KILN_HOME at a larger disk; what the build left is removed";

/** Whether a program that failed says that it had no room to write. */
export const saysNoSpace = (output: string): boolean => NO_SPACE.test(output);

/** `DISK_FULL`, by what found no room. */
export function noSpace(what: string, options: KilnErrorOptions = {}): KilnError {
  return new KilnError("DISK_FULL", `no space left on the disk: ${what}`, {
    hint: NO_SPACE_HINT,
    ...options,
  });
}

/** An error as it is, or as `DISK_FULL` where a system call that found no room is underneath. */
export function explainNoSpace(error: unknown): unknown {
  if (error instanceof KilnError && error.code !== "INTERNAL") return error;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (["ENOSPC", "EDQUOT"].includes(systemErrorCode(cause) ?? "")) {
      return noSpace(cause.message, { cause: error });
    }
  }
  return error;
}
