import { systemErrorCode } from "../../errors.ts";
import { NbdError } from "./protocol.ts";

/** NBD's number for a failed system call. What the protocol has no number for is an input/output error. */
export function toNbdError(error: unknown): number {
  switch (systemErrorCode(error)) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return NbdError.ENOSPC;
    case "ENOMEM":
      return NbdError.ENOMEM;
    case "EPERM":
    case "EROFS":
      return NbdError.EPERM;
    default:
      return NbdError.EIO;
  }
}
