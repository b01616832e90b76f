import { z } from "zod";
import { IMAGE_REFERENCE } from "./image-reference.ts";
import { lockSchema } from "./lock.ts";
import { splitTool, TOOL } from "./tools.ts";

/** Limits of a TemplateSpec. Sizes are in bytes of UTF-8 unless the name says otherwise. */
export const SPEC_LIMITS = {
  packages: 512,
  tools: 16,
  commands: 256,
  commandBytes: 16 * 1024,
  envVariables: 256,
  envValueBytes: 32 * 1024,
  envTotalBytes: 256 * 1024,
  checks: 32,
  vcpu: { min: 1, max: 64 },
  memoryMib: { min: 128, max: 1024 * 1024 },
  diskMib: { min: 256, max: 1024 * 1024 },
} as const;

/** Debian Policy 5.6.1; a trailing minus would make apt-get remove the package instead. */
const PACKAGE_NAME = /^[a-z0-9][a-z0-9+.-]*[a-z0-9+.](?::[a-z0-9-]+)?(?:=[0-9][A-Za-z0-9.+:~-]*)?$/;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const USER_NAME = /^[a-z_][a-z0-9_-]*$/;
const WORKDIR = /^\/(?:[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*(?:\/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)*)?$/;
export const TEMPLATE_NAME = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/;

/** A text that is too long is not matched against a pattern as well. */
const STOP = { abort: true } as const;

const bytes = (text: string) => Buffer.byteLength(text);
/** Text a Linux process can be given: no NUL, and nothing UTF-8 cannot carry. */
const isPlainText = (text: string) => !text.includes("\0") && text.isWellFormed();

const shellCommand = z
  .string()
  .min(1)
  .refine((text) => text.trim() !== "", "must not be blank")
  .refine(isPlainText, "must not hold NUL or broken Unicode")
  .refine(
    (text) => bytes(text) <= SPEC_LIMITS.commandBytes,
    `must be at most ${SPEC_LIMITS.commandBytes} bytes`,
  );

const envValue = z
  .string()
  .refine(isPlainText, "must not hold NUL or broken Unicode")
  .refine(
    (text) => bytes(text) <= SPEC_LIMITS.envValueBytes,
    `must be at most ${SPEC_LIMITS.envValueBytes} bytes`,
  );

/** What a person writes; `TemplateSpec` is the same with every default filled in. */
export const templateSpecSchema = z
  .strictObject({
    $schema: z
      .string()
      .max(1024, STOP)
      .optional()
      .meta({ description: "Where this schema is, for editors." }),
    name: z
      .string()
      .max(63, STOP)
      .regex(TEMPLATE_NAME)
      .meta({ description: "What the template is called: lower-case letters, digits, '.', '_' and '-'." }),
    base_image: z
      .string()
      .max(255, STOP)
      .regex(IMAGE_REFERENCE)
      .default("docker.io/library/debian:bookworm-slim")
      .meta({
        description: "The image to start from, Debian or a relative of it when packages are installed.",
      }),
    from: z.string().max(63, STOP).regex(TEMPLATE_NAME).optional().meta({
      description:
        "A template to start from instead of a base image. Its steps come first and are shared; what is not said here is as it is there.",
    }),
    apt_packages: z
      .array(z.string().max(200, STOP).regex(PACKAGE_NAME))
      .max(SPEC_LIMITS.packages)
      .default([])
      .meta({
        description: "Debian packages, each optionally as name=version. Order and repeats do not matter.",
      }),
    tools: z
      .array(z.string().max(64, STOP).regex(TOOL))
      .max(SPEC_LIMITS.tools)
      .default([])
      .refine(
        (tools) => new Set(tools.map((tool) => splitTool(tool).name)).size === tools.length,
        "must name each tool once",
      )
      .meta({
        description:
          'What Kiln knows how to install from whatever source is in reach: "node@22" (with npm), "uv", "rust".',
      }),
    setup_commands: z
      .array(shellCommand)
      .max(SPEC_LIMITS.commands)
      .default([])
      .meta({ description: "Commands run by /bin/sh as root during the build, one image layer each." }),
    env: z
      .record(z.string().max(128, STOP).regex(ENV_NAME), envValue)
      .default({})
      .refine(
        (env) => Object.keys(env).length <= SPEC_LIMITS.envVariables,
        `must have at most ${SPEC_LIMITS.envVariables} variables`,
      )
      .refine(
        (env) =>
          Object.entries(env).reduce((sum, [key, value]) => sum + bytes(key) + bytes(value), 0) <=
          SPEC_LIMITS.envTotalBytes,
        `must be at most ${SPEC_LIMITS.envTotalBytes} bytes in all`,
      )
      .meta({ description: "Environment of everything that runs in a sandbox. Values are kept exactly." }),
    vcpu: z
      .int()
      .min(SPEC_LIMITS.vcpu.min)
      .max(SPEC_LIMITS.vcpu.max)
      .default(2)
      .meta({ description: "Virtual processors of a sandbox." }),
    memory_mib: z
      .int()
      .min(SPEC_LIMITS.memoryMib.min)
      .max(SPEC_LIMITS.memoryMib.max)
      .default(512)
      .meta({ description: "Memory of a sandbox, in MiB." }),
    disk_mib: z.int().min(SPEC_LIMITS.diskMib.min).max(SPEC_LIMITS.diskMib.max).default(8192).meta({
      description: "Size of the root file system, in MiB. It is sparse: unused space costs nothing.",
    }),
    workdir: z
      .string()
      .max(1024, STOP)
      .regex(WORKDIR)
      .default("/workspace")
      .meta({ description: "The directory commands start in. Made when it is missing." }),
    user: z
      .string()
      .max(32, STOP)
      .regex(USER_NAME)
      .default("root")
      .meta({ description: "The user commands run as. Made when it is missing." }),
    as_of: z.iso.datetime().optional().meta({
      description: "When newer versions were looked for last; kiln template build --refresh sets it.",
    }),
    lock: lockSchema.optional(),
    checks: z.array(shellCommand).max(SPEC_LIMITS.checks).default([]).meta({
      description:
        "Commands that must succeed in the booted template. They also warm it up: what they touched is in memory in every sandbox.",
    }),
  })
  .meta({
    title: "Kiln TemplateSpec",
    description: "A short description of a machine, from which Kiln builds a template.",
  });

export type TemplateSpecInput = z.input<typeof templateSpecSchema>;
/** A validated, complete description of a machine. */
export type TemplateSpec = Omit<z.output<typeof templateSpecSchema>, "$schema"> & {
  /** The template that `from` names, once it was looked up (`completeSpec`). */
  parent?: TemplateSpec;
};
