/**
 * Every error a user can meet, in one table. `exitCode` is what the CLI ends with; `status` is the HTTP status
 * of the same failure. A message says what was wrong, a hint says what to do about it.
 */
export const ERROR_TABLE = {
  SPEC_INVALID: { exitCode: 2, status: 422 },
  USAGE: { exitCode: 2, status: 400 },
  UNAUTHORIZED: { exitCode: 4, status: 401 },
  NOT_FOUND: { exitCode: 3, status: 404 },
  SANDBOX_NOT_FOUND: { exitCode: 3, status: 404 },
  PROCESS_NOT_FOUND: { exitCode: 3, status: 404 },
  BUILD_NOT_FOUND: { exitCode: 3, status: 404 },
  FILE_NOT_FOUND: { exitCode: 3, status: 404 },
  PERMISSION_DENIED: { exitCode: 1, status: 403 },
  SANDBOX_STATE: { exitCode: 1, status: 409 },
  CONFLICT: { exitCode: 1, status: 409 },
  TOO_LARGE: { exitCode: 2, status: 413 },
  LIMIT_REACHED: { exitCode: 6, status: 429 },
  CAPACITY: { exitCode: 6, status: 507 },
  PORT_UNREACHABLE: { exitCode: 1, status: 502 },
  SHUTTING_DOWN: { exitCode: 4, status: 503 },
  TEMPLATE_NOT_FOUND: { exitCode: 3, status: 404 },
  HOST_UNSUPPORTED: { exitCode: 4, status: 503 },
  BUILD_FAILED: { exitCode: 5, status: 422 },
  BASE_IMAGE_UNAVAILABLE: { exitCode: 9, status: 502 },
  BUILD_TIMEOUT: { exitCode: 10, status: 504 },
  BUILD_INTERRUPTED: { exitCode: 11, status: 503 },
  IMAGE_INVALID: { exitCode: 5, status: 422 },
  DISK_FULL: { exitCode: 6, status: 507 },
  VM_FAILED: { exitCode: 7, status: 500 },
  GUEST_PROTOCOL: { exitCode: 7, status: 502 },
  GUEST_ERROR: { exitCode: 1, status: 422 },
  BLOCK_FAILED: { exitCode: 7, status: 500 },
  NETWORK_FAILED: { exitCode: 7, status: 500 },
  STORE_UNAVAILABLE: { exitCode: 8, status: 503 },
  STORE_DAMAGED: { exitCode: 8, status: 502 },
  STORE_UNTRUSTED: { exitCode: 8, status: 403 },
  TIMEOUT: { exitCode: 124, status: 504 },
  CANCELLED: { exitCode: 130, status: 499 },
  INTERNAL: { exitCode: 70, status: 500 },
} as const satisfies Record<string, { exitCode: number; status: number }>;

export type ErrorCode = keyof typeof ERROR_TABLE;

export interface KilnErrorOptions {
  /** What the reader can do about it, one sentence. */
  hint?: string;
  /** The error underneath, kept for the log. */
  cause?: unknown;
  /** Machine-readable particulars, for `--json`. */
  details?: Record<string, unknown>;
}

/**
 * A failure with a stable code, a message for people and, where there is one, a hint.
 *
 * @example
 * throw new KilnError("TEMPLATE_NOT_FOUND", `no template named "${name}"`, { hint: "kiln template ls lists them" });
 */
export class KilnError extends Error {
  override readonly name = "KilnError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: KilnErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  get exitCode(): number {
    return ERROR_TABLE[this.code].exitCode;
  }
}

/** `code` of a Node.js system error (`ENOENT`, …), or undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
