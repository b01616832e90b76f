import { systemErrorCode } from "../errors.ts";

/** A connection that could not be made or broke. */
export class ConnectionFailure extends Error {
  override readonly name = "ConnectionFailure";
  /** Whether the daemon may have got the request, or a part of it. */
  readonly sent: boolean;

  constructor(cause: unknown, sent: boolean) {
    super("the connection failed", { cause });
    this.sent = sent;
  }

  /** Whether there is no daemon at all. */
  get nobodyListens(): boolean {
    return ["ENOENT", "ECONNREFUSED", "ENOTDIR"].includes(systemErrorCode(this.cause) ?? "");
  }
}
