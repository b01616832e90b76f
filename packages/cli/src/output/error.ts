import { KilnError, systemErrorCode } from "@kiln/host/errors.ts";

const CANCELLED_EXIT_CODE = 130;

/** What a file system has to say, in the user's words. */
function fromSystem(error: Error): KilnError | undefined {
  switch (systemErrorCode(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return new KilnError("DISK_FULL", `no space left on the disk (${error.message})`, {
        hint: "free some space, or point KILN_HOME at a larger disk",
        cause: error,
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new KilnError("HOST_UNSUPPORTED", error.message, {
        hint: "does this user own KILN_HOME?",
        cause: error,
      });
    default:
      return undefined;
  }
}

function toKilnError(error: unknown): KilnError {
  if (error instanceof KilnError) return error;
  if (error instanceof Error) {
    if (error.name === "AbortError") return new KilnError("CANCELLED", "cancelled", { cause: error });
    return fromSystem(error) ?? new KilnError("INTERNAL", error.message, { cause: error });
  }
  return new KilnError("INTERNAL", String(error));
}

/** Prints what went wrong on standard error, and returns the exit code for it. */
export function printError(thrown: unknown, json: boolean): number {
  const error = toKilnError(thrown);
  if (json) {
    const { code, message, hint, details } = error;
    process.stderr.write(`${JSON.stringify({ error: { code, message, hint, details } })}\n`);
    return error.exitCode;
  }
  if (error.exitCode !== CANCELLED_EXIT_CODE || error.message !== "cancelled") {
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
  return error.exitCode;
}
