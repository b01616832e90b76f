import { KilnError } from "@kiln/sdk/errors.ts";

const CANCELLED_EXIT_CODE = 130;
/** Exit codes of what only a client meets: as for a host that cannot do it. */
const CLIENT_EXIT_CODES: Readonly<Record<string, number>> = { UNREACHABLE: 4, CONNECTION_LOST: 4 };

/** Where an error comes from decides its class, not its form: the daemon's and this package's own have the same fields. */
interface ErrorLike extends Error {
  code: string;
  hint?: string | undefined;
  details?: Record<string, unknown> | undefined;
}

const isKilnError = (error: unknown): error is ErrorLike =>
  error instanceof Error && error.name === "KilnError";

const systemCode = (error: Error): string | undefined =>
  "code" in error && typeof error.code === "string" ? error.code : undefined;

/** What a file system has to say, in the user's words. */
function fromSystem(error: Error): KilnError | undefined {
  const cause = error;
  switch (systemCode(error)) {
    case "ENOSPC":
    case "EDQUOT": {
      const hint = "free some space, or point KILN_HOME at a larger disk";
      return new KilnError("DISK_FULL", `no space left on the disk (${error.message})`, { hint, cause });
    }
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new KilnError("HOST_UNSUPPORTED", error.message, {
        hint: "does this user own what it names?",
        cause,
      });
    case "ENOENT":
    case "EISDIR":
    case "ENOTDIR":
      return new KilnError("FILE_NOT_FOUND", error.message, { cause });
    default:
      return undefined;
  }
}

function toKilnError(error: unknown): ErrorLike {
  if (isKilnError(error)) return error;
  if (error instanceof Error) {
    if (error.name === "AbortError") return new KilnError("CANCELLED", "cancelled", { cause: error });
    return fromSystem(error) ?? new KilnError("INTERNAL", error.message, { cause: error });
  }
  return new KilnError("INTERNAL", String(error));
}

async function exitCodeOf(code: string): Promise<number> {
  const { ERROR_TABLE } = await import("@kiln/host/errors.ts");
  const table: Readonly<Record<string, { exitCode: number }>> = ERROR_TABLE;
  return CLIENT_EXIT_CODES[code] ?? table[code]?.exitCode ?? ERROR_TABLE.INTERNAL.exitCode;
}

/** Prints what went wrong on standard error, and returns the exit code for it. */
export async function printError(thrown: unknown, json: boolean): Promise<number> {
  const error = toKilnError(thrown);
  const exitCode = await exitCodeOf(error.code);
  if (json) {
    const { code, message, hint, details } = error;
    process.stderr.write(`${JSON.stringify({ error: { code, message, hint, details } })}\n`);
    return exitCode;
  }
  if (exitCode !== CANCELLED_EXIT_CODE || error.message !== "cancelled") {
    process.stderr.write(`kiln: ${error.message}\n`);
  }
  if (error.hint !== undefined)
    process.stderr.write(`  hint: ${error.hint.replaceAll("\n", "\n        ")}\n`);
  if (error.code === "INTERNAL" || process.env.KILN_DEBUG) {
    const cause = error.cause instanceof Error ? error.cause : error;
    process.stderr.write(`${cause.stack ?? String(cause)}\n`);
    if (error.code === "INTERNAL")
      process.stderr.write("  This is a fault in Kiln, not in what you asked for.\n");
  }
  return exitCode;
}
