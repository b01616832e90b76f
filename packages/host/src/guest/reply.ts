import { KilnError } from "../errors.ts";
import { ErrorCode, type Error as GuestError, type Reply } from "./gen/kiln/agent/v1/agent.ts";

type Kinds = NonNullable<Reply["kind"]>;
type ValueOf<C extends Kinds["$case"]> = Extract<Kinds, { $case: C }>["value"];

const MAX_MESSAGE_CHARACTERS = 300;

const HINTS = new Map<ErrorCode, string>([
  [ErrorCode.ERROR_CODE_NOT_FOUND, "check the spelling, the PATH and what the template installs"],
  [ErrorCode.ERROR_CODE_BUSY, "wait for something that is running, or kill it"],
]);

/** Text of a guest's error made fit to be shown: one line, no control characters, not long. */
function readable(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what has to go
  return message.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, MAX_MESSAGE_CHARACTERS);
}

function toKilnError(error: GuestError): KilnError {
  const hint = HINTS.get(error.code);
  const details = { guestCode: error.code, errno: error.errno };
  if (error.code === ErrorCode.ERROR_CODE_CANCELLED) {
    return new KilnError("CANCELLED", readable(error.message) || "cancelled", { details });
  }
  return new KilnError("GUEST_ERROR", readable(error.message) || "the guest reported an error", {
    details,
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * The value of a reply of the expected kind.
 * @throws KilnError `GUEST_ERROR` or `CANCELLED` for an error reply, `GUEST_PROTOCOL` for a reply of another kind.
 */
export function unwrapReply<C extends Kinds["$case"]>(reply: Reply, expected: C): ValueOf<C> {
  const kind = reply.kind;
  if (kind?.$case === "error") throw toKilnError(kind.value);
  if (kind?.$case !== expected) {
    throw new KilnError(
      "GUEST_PROTOCOL",
      `the guest answered with "${kind?.$case ?? "nothing"}" instead of "${expected}"`,
    );
  }
  return kind.value as ValueOf<C>;
}
