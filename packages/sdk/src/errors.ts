/** Codes the daemon answers with; docs/api.md says what each means. */
export const DAEMON_ERROR_CODES = [
  "SPEC_INVALID",
  "USAGE",
  "UNAUTHORIZED",
  "NOT_FOUND",
  "SANDBOX_NOT_FOUND",
  "PROCESS_NOT_FOUND",
  "BUILD_NOT_FOUND",
  "FILE_NOT_FOUND",
  "PERMISSION_DENIED",
  "SANDBOX_STATE",
  "CONFLICT",
  "TOO_LARGE",
  "LIMIT_REACHED",
  "CAPACITY",
  "PORT_UNREACHABLE",
  "SHUTTING_DOWN",
  "TEMPLATE_NOT_FOUND",
  "HOST_UNSUPPORTED",
  "BUILD_FAILED",
  "BASE_IMAGE_UNAVAILABLE",
  "BUILD_TIMEOUT",
  "BUILD_INTERRUPTED",
  "IMAGE_INVALID",
  "DISK_FULL",
  "VM_FAILED",
  "GUEST_PROTOCOL",
  "GUEST_ERROR",
  "BLOCK_FAILED",
  "NETWORK_FAILED",
  "STORE_UNAVAILABLE",
  "STORE_DAMAGED",
  "STORE_UNTRUSTED",
  "TIMEOUT",
  "CANCELLED",
  "INTERNAL",
] as const;

/**
 * Every failure the SDK reports: the daemon's own, `UNREACHABLE` when no request could be sent to one, and `CONNECTION_LOST`
 * when a connection broke before the answer was there, so that it is not known whether the daemon did what was asked.
 */
export type ErrorCode = (typeof DAEMON_ERROR_CODES)[number] | "UNREACHABLE" | "CONNECTION_LOST";

export interface KilnErrorOptions {
  /** What to do about it, one sentence. */
  hint?: string | undefined;
  /** Machine-readable particulars. */
  details?: Record<string, unknown> | undefined;
  /** HTTP status, of what the daemon answered. */
  status?: number | undefined;
  /** Method and route, such as `POST /v1/sandboxes`. */
  request?: string | undefined;
  cause?: unknown;
}

/**
 * A failure with a stable code, a message for people and, where there is one, a hint. An aborted call rejects with its signal's
 * reason instead.
 *
 * @example
 * try {
 *   await client.get("abc");
 * } catch (error) {
 *   if (error instanceof KilnError && error.code === "SANDBOX_NOT_FOUND") return undefined;
 *   throw error;
 * }
 */
export class KilnError extends Error {
  override readonly name = "KilnError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;
  readonly status: number | undefined;
  readonly request: string | undefined;

  constructor(code: ErrorCode, message: string, options: KilnErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
    this.status = options.status;
    this.request = options.request;
  }
}

const isDaemonCode = (code: unknown): code is (typeof DAEMON_ERROR_CODES)[number] =>
  (DAEMON_ERROR_CODES as readonly unknown[]).includes(code);

/** A daemon's error body as an error. A code of a later daemon that is not known here is `INTERNAL`, and in `details.code`. */
export function fromErrorBody(
  body: unknown,
  options: Pick<KilnErrorOptions, "status" | "request"> = {},
): KilnError {
  const { code, message, hint, details } = (typeof body === "object" && body !== null ? body : {}) as Record<
    string,
    unknown
  >;
  const particulars = {
    ...(typeof details === "object" && details !== null ? (details as Record<string, unknown>) : {}),
    ...(isDaemonCode(code) ? {} : { code }),
  };
  return new KilnError(
    isDaemonCode(code) ? code : "INTERNAL",
    typeof message === "string"
      ? message
      : `the daemon answered ${options.status ?? "an error"} without saying why`,
    {
      ...options,
      ...(typeof hint === "string" ? { hint } : {}),
      ...(Object.keys(particulars).length === 0 ? {} : { details: particulars }),
    },
  );
}

/** `code` of a Node.js system error (`ECONNREFUSED`, …), or undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
