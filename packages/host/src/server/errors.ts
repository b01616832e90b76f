import type { FastifyError } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { ERROR_TABLE, KilnError, systemErrorCode } from "../errors.ts";
import type { ErrorBody } from "./schemas/common.ts";

/** The framework's own errors that a client causes, by HTTP status. */
const CLIENT_ERRORS: Readonly<Record<number, "USAGE" | "TOO_LARGE" | "NOT_FOUND">> = {
  400: "USAGE",
  404: "NOT_FOUND",
  413: "TOO_LARGE",
  415: "USAGE",
};

/** Whatever was thrown, as the error a client is told. */
export function toKilnError(thrown: unknown): KilnError {
  if (thrown instanceof KilnError) return thrown;
  if (hasZodFastifySchemaValidationErrors(thrown)) {
    const issues = thrown.validation.map(({ instancePath, message }) => ({
      path: `${thrown.validationContext ?? "request"}${instancePath.replaceAll("/", ".")}`,
      message: message ?? "is not valid",
    }));
    const first = issues[0];
    return new KilnError("USAGE", first ? `${first.path}: ${first.message}` : "the request is not valid", {
      hint: "GET /openapi.json describes what is expected",
      details: { issues },
    });
  }
  if (systemErrorCode(thrown) === "ENOSPC") {
    return new KilnError("DISK_FULL", "no space left on the host's disk", { cause: thrown });
  }
  const { statusCode, message } = thrown as Partial<FastifyError>;
  const code = statusCode === undefined ? undefined : CLIENT_ERRORS[statusCode];
  if (code !== undefined)
    return new KilnError(code, message ?? "the request is not valid", { cause: thrown });
  return new KilnError("INTERNAL", "something went wrong inside the daemon", {
    hint: "its log says what",
    cause: thrown,
  });
}

export function errorBody({ code, message, hint, details }: KilnError): ErrorBody {
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  };
}

export const statusOf = (error: KilnError): number => ERROR_TABLE[error.code].status;
