import { constants } from "node:os";
import { z } from "zod";
import { Environment, plainText, QueryFlag, queryNumber, SandboxIdParam, Timestamp } from "./common.ts";

const MIB = 1024 * 1024;
const MAX_ARGUMENTS_BYTES = 60 * 1024;
/** Thirty days. */
const MAX_TIMEOUT_MS = 30 * 24 * 3600 * 1000;
const SIGNALS = Object.keys(constants.signals) as [NodeJS.Signals, ...NodeJS.Signals[]];

const Terminal = z.strictObject({ rows: z.int().min(1).max(9999), columns: z.int().min(1).max(9999) });

const program = {
  argv: z
    .array(plainText(MAX_ARGUMENTS_BYTES))
    .min(1)
    .max(4096)
    .refine(([first]) => first !== "", "must begin with a program")
    .meta({ description: "Program and arguments; no shell is involved." }),
  env: Environment.optional(),
  cwd: plainText(4095).optional(),
  user: z.string().max(128).optional().meta({ description: "name, name:group, uid or uid:gid" }),
  timeout_ms: z.int().min(1).max(MAX_TIMEOUT_MS).optional(),
};

export const Exec = z
  .strictObject({
    ...program,
    input: z.string().optional().meta({ description: "Standard input, as text." }),
    input_base64: z.base64().optional(),
    max_output_bytes: z
      .int()
      .min(1)
      .max(256 * MIB)
      .default(16 * MIB),
  })
  .refine(({ input, input_base64 }) => input === undefined || input_base64 === undefined, {
    message: "input and input_base64 exclude each other",
    path: ["input_base64"],
  })
  .meta({ id: "Exec" });

export const StartProcess = z
  .strictObject({
    ...program,
    stdin: z.boolean().default(false),
    terminal: Terminal.optional(),
    background: z.boolean().default(false),
    buffer_bytes: z
      .int()
      .min(1024)
      .max(16 * MIB)
      .default(MIB),
  })
  .meta({ id: "StartProcess" });

/** What a connection for programs is asked for. */
export const ExecRequest = StartProcess.pick({
  argv: true,
  env: true,
  cwd: true,
  user: true,
  timeout_ms: true,
  stdin: true,
  buffer_bytes: true,
}).extend({ sandbox: SandboxIdParam.shape.id });

export const ExecResult = z
  .object({
    exit_code: z.int(),
    signal: z.string().optional(),
    timed_out: z.boolean(),
    stdout: z.string(),
    stderr: z.string(),
    stdout_base64: z.string().optional(),
    stderr_base64: z.string().optional(),
    truncated: z.boolean(),
  })
  .meta({ id: "ExecResult" });

export const Process = z
  .object({
    id: z.string(),
    argv: z.array(z.string()),
    state: z.enum(["running", "exited"]),
    exit_code: z.int().optional(),
    signal: z.string().optional(),
    timed_out: z.boolean().optional(),
    started_at: Timestamp,
    background: z.boolean(),
    terminal: z.boolean(),
    stdout_bytes: z.number(),
    stderr_bytes: z.number(),
  })
  .meta({ id: "Process" });
export type Process = z.infer<typeof Process>;

export const ProcessList = z.object({ processes: z.array(Process) });

export const ProcessParams = SandboxIdParam.extend({
  process: z.string().regex(/^[a-z0-9-]{1,64}$/, "must be a process's id"),
});

const MAX_OFFSET = Number.MAX_SAFE_INTEGER;
export const StartQuery = z.strictObject({ attach: QueryFlag.optional() });
export const OutputQuery = z.strictObject({
  stdout: queryNumber(0, MAX_OFFSET).optional(),
  stderr: queryNumber(0, MAX_OFFSET).optional(),
  follow: QueryFlag.optional(),
});
export const StdinQuery = z.strictObject({ end: QueryFlag.optional() });
export const Signal = z.strictObject({ signal: z.enum(SIGNALS) }).meta({ id: "Signal" });
export const Resize = Terminal.meta({ id: "Resize" });
