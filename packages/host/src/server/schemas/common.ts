import { z } from "zod";
import { ERROR_TABLE, type ErrorCode } from "../../errors.ts";

/** What every answer that is not 2xx has as its body. */
export const ErrorBody = z
  .object({
    code: z.enum(Object.keys(ERROR_TABLE) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    hint: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: "Error" });
export type ErrorBody = z.infer<typeof ErrorBody>;

export const Timestamp = z.iso.datetime().meta({ description: "RFC 3339, UTC" });

/** `"true"` and `"false"` of a query. */
export const QueryFlag = z
  .enum(["true", "false"])
  .transform((text) => text === "true")
  .meta({ description: "true or false" });

/** A whole number of a query. */
export const queryNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^[0-9]{1,16}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(min).max(max));

/** Text a Linux process can be given. */
export const plainText = (maxBytes: number) =>
  z
    .string()
    .refine((text) => !text.includes("\0") && text.isWellFormed(), "must not hold NUL or broken Unicode")
    .refine((text) => Buffer.byteLength(text) <= maxBytes, `must be at most ${maxBytes} bytes`);

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MAX_VARIABLES = 256;

/** Environment variables. */
export const Environment = z
  .record(z.string().max(128).regex(VARIABLE), plainText(32 * 1024))
  .refine((env) => Object.keys(env).length <= MAX_VARIABLES, `must have at most ${MAX_VARIABLES} variables`);

export const SandboxIdParam = z.object({
  id: z
    .string()
    .regex(/^[a-z][a-z0-9]{0,11}$/, "must be a sandbox's id or its beginning")
    .meta({ description: "A sandbox's id, or a beginning that means one sandbox." }),
});

export const NoContent = z.undefined().meta({ description: "done" });
