import { KilnError, type ErrorCode as KilnErrorCode } from "../errors.ts";
import { ErrorCode, type Error as GuestError, type Reply } from "./gen/kiln/agent/v1/agent.ts";

type Kinds = NonNullable<Reply["kind"]>;
type ValueOf<C extends Kinds["$case"]> = Extract<Kinds, { $case: C }>["value"];

/** What a request was about: decides what "not found" and the like are called. */
export type Subject = "program" | "file" | "process" | "port";

const MAX_MESSAGE_CHARACTERS = 300;

const HINTS = new Map<ErrorCode, string>([
  [ErrorCode.ERROR_CODE_NOT_FOUND, "check the spelling, the PATH and what the template installs"],
  [ErrorCode.ERROR_CODE_BUSY, "wait for something that is running, or kill it"],
]);

/** What is not in a row is a `GUEST_ERROR`. */
const CODES: Readonly<Record<Subject, ReadonlyMap<ErrorCode, KilnErrorCode>>> = {
  program: new Map<ErrorCode, KilnErrorCode>([
    [ErrorCode.ERROR_CODE_EXISTS, "CONFLICT"],
    [ErrorCode.ERROR_CODE_BUSY, "LIMIT_REACHED"],
  ]),
  file: new Map<ErrorCode, KilnErrorCode>([
    [ErrorCode.ERROR_CODE_NOT_FOUND, "FILE_NOT_FOUND"],
    [ErrorCode.ERROR_CODE_PERMISSION, "PERMISSION_DENIED"],
    [ErrorCode.ERROR_CODE_EXISTS, "CONFLICT"],
    [ErrorCode.ERROR_CODE_BUSY, "LIMIT_REACHED"],
  ]),
  process: new Map<ErrorCode, KilnErrorCode>([
    [ErrorCode.ERROR_CODE_NOT_FOUND, "PROCESS_NOT_FOUND"],
    [ErrorCode.ERROR_CODE_EXISTS, "CONFLICT"],
    [ErrorCode.ERROR_CODE_BUSY, "LIMIT_REACHED"],
  ]),
  port: new Map<ErrorCode, KilnErrorCode>([
    [ErrorCode.ERROR_CODE_NOT_FOUND, "PORT_UNREACHABLE"],
    [ErrorCode.ERROR_CODE_SYSTEM, "PORT_UNREACHABLE"],
    [ErrorCode.ERROR_CODE_PERMISSION, "PORT_UNREACHABLE"],
    [ErrorCode.ERROR_CODE_BUSY, "LIMIT_REACHED"],
  ]),
};

/** Text of a guest's error made fit to be shown: one line, no control characters, not long. */
function readable(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what has to go
  return message.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, MAX_MESSAGE_CHARACTERS);
}

/** A guest's error as Kiln's, with `details.guestCode` and `details.errno` as the guest had them. */
export function toKilnError(error: GuestError, subject: Subject): KilnError {
  const details = { guestCode: error.code, errno: error.errno };
  if (error.code === ErrorCode.ERROR_CODE_CANCELLED) {
    return new KilnError("CANCELLED", readable(error.message) || "cancelled", { details });
  }
  const code = CODES[subject].get(error.code) ?? "GUEST_ERROR";
  const hint =
    subject === "program" || error.code === ErrorCode.ERROR_CODE_BUSY ? HINTS.get(error.code) : undefined;
  return new KilnError(code, readable(error.message) || "the guest reported an error", {
    details,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What the guest means by a reply of no use. */
export function unexpectedReply(reply: Reply, expected: string): KilnError {
  const kind = reply.kind?.$case ?? "nothing";
  return new KilnError("GUEST_PROTOCOL", `the guest answered with "${kind}" instead of "${expected}"`);
}

/**
 * The value of a reply of the expected kind.
 * @throws KilnError for an error reply: `CANCELLED`, `GUEST_ERROR`, or what `CODES` has for the subject; and
 * `GUEST_PROTOCOL` for a reply of another kind.
 */
export function unwrapReply<C extends Kinds["$case"]>(
  reply: Reply,
  expected: C,
  subject: Subject = "program",
): ValueOf<C> {
  const kind = reply.kind;
  if (kind?.$case === "error") throw toKilnError(kind.value, subject);
  if (kind?.$case !== expected) throw unexpectedReply(reply, expected);
  return kind.value as ValueOf<C>;
}
