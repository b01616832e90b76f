import { z } from "zod";
import { ErrorBody } from "./schemas/common.ts";

/** The answers a route may give besides its own: errors, as one entry of the schema. */
export const errors = { "4xx": ErrorBody, "5xx": ErrorBody } as const;

/** A body the schema does not look into: raw bytes or lines. */
export const raw = (contentType: string, description: string) => ({
  description,
  content: { [contentType]: { schema: z.any() } },
});

export const NDJSON = "application/x-ndjson";
export const OUTPUT_STREAM = "application/vnd.kiln.output";
export const BYTES = "application/octet-stream";
export const TAR = "application/x-tar";
