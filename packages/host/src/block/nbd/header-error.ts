import { Command, CommandFlag, MAX_PAYLOAD, NbdError } from "./protocol.ts";

/** Every flag a request may carry; each is harmless where it has no meaning. */
const KNOWN_FLAGS =
  CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.DF | CommandFlag.REQ_ONE | CommandFlag.FAST_ZERO;

/** What a request is to be refused with for what its header says, as one of `NbdError`; 0: nothing is wrong with it. */
export function headerError(
  command: number,
  flags: number,
  offset: number,
  length: number,
  sizeBytes: number,
): number {
  const inside = offset + length <= sizeBytes;
  const malformed = length === 0 || (flags & ~KNOWN_FLAGS) !== 0;
  switch (command) {
    case Command.READ:
      return !inside || malformed || length > MAX_PAYLOAD ? NbdError.EINVAL : 0;
    case Command.WRITE:
      if (!inside) return NbdError.ENOSPC;
      return malformed || length > MAX_PAYLOAD ? NbdError.EINVAL : 0;
    case Command.TRIM:
    case Command.WRITE_ZEROES:
      if (!inside) return NbdError.ENOSPC;
      return malformed ? NbdError.EINVAL : 0;
    case Command.BLOCK_STATUS:
      return !inside || malformed ? NbdError.EINVAL : 0;
    case Command.FLUSH:
      return offset !== 0 || length !== 0 || (flags & ~KNOWN_FLAGS) !== 0 ? NbdError.EINVAL : 0;
    case Command.DISCONNECT:
      return 0;
    default:
      return NbdError.EINVAL;
  }
}
