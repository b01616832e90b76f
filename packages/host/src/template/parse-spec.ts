import type { z } from "zod";
import { KilnError } from "../errors.ts";
import { normaliseImageReference } from "./image-reference.ts";
import { nearest } from "./nearest.ts";
import { type TemplateSpec, templateSpecSchema } from "./spec.ts";

/** One mistake in a spec: where (`$.apt_packages[2]`), what, and what to write instead. */
export interface SpecProblem {
  path: string;
  message: string;
  hint?: string;
}

/** What a field takes, said when a value in it is refused. */
const FIELD_HINTS: Record<string, string> = {
  name: "lower-case letters, digits, '.', '_' and '-', at most 63, such as \"python-ml\"",
  base_image: 'an image name such as "docker.io/library/debian:bookworm-slim"',
  apt_packages: 'Debian package names such as "git" or "curl=7.88.1-10+deb12u8"',
  from: 'the name of a template such as "python"',
  tools: 'some of "node", "node@22", "uv", "rust"',
  setup_commands: 'shell commands such as "pip install numpy"',
  env: "variables by name; names are letters, digits and '_', not starting with a digit; values are strings",
  vcpu: "a whole number from 1 to 64",
  memory_mib: "a whole number of MiB from 128 to 1048576",
  disk_mib: "a whole number of MiB from 256 to 1048576",
  workdir: 'an absolute path without "." or ".." such as "/workspace"',
  user: 'a user name such as "root" or "dev"',
  checks: "shell commands that succeed in a good template",
  as_of: 'a time such as "2026-01-31T12:00:00Z"',
  lock: "what kiln template lock prints",
};
const FIELDS = Object.keys(FIELD_HINTS);
/** A spec with thousands of mistakes is not worth thousands of lines. */
const MAX_PROBLEMS = 100;

/**
 * Checks `input` and fills in what it leaves out: defaults, the full name of the base image, packages sorted and
 * without repeats.
 *
 * @param source what the spec came from, for messages: a template's name or a file's path.
 * @throws KilnError `SPEC_INVALID` with every mistake in `details.problems` ({@link SpecProblem}).
 */
export function parseTemplateSpec(input: unknown, source = "the TemplateSpec"): TemplateSpec {
  const parsed = templateSpecSchema.safeParse(input);
  const problems = [
    ...protoKeys(input),
    ...twoStarts(input),
    ...(parsed.success ? [] : parsed.error.issues.flatMap((issue) => describeIssue(issue, input))),
  ].slice(0, MAX_PROBLEMS);
  if (!parsed.success || problems.length > 0) throw invalidSpec(problems, source);
  const { $schema: _, ...spec } = parsed.data;
  return {
    ...spec,
    base_image: normaliseImageReference(spec.base_image),
    apt_packages: [...new Set(spec.apt_packages)].sort(),
    tools: [...spec.tools].sort(),
  };
}

function invalidSpec(problems: SpecProblem[], source: string): KilnError {
  const lines = problems.map(({ path, message, hint }) => `  ${path}: ${message}${hint ? ` (${hint})` : ""}`);
  const count = problems.length === 1 ? "1 mistake" : `${problems.length} mistakes`;
  return new KilnError("SPEC_INVALID", `${source} has ${count}:\n${lines.join("\n")}`, {
    hint: "templates/template.schema.json describes every field; editors can check against it",
    details: { problems },
  });
}

/** A key named `__proto__` would vanish from a JavaScript object without a word: refuse it wherever it can stand. */
function protoKeys(input: unknown): SpecProblem[] {
  if (!isObject(input)) return [];
  const problem = (path: string): SpecProblem => ({
    path,
    message: "this name is reserved",
    hint: "choose another name",
  });
  return [
    ...(Object.hasOwn(input, "__proto__") ? [problem("$.__proto__")] : []),
    ...(isObject(input.env) && Object.hasOwn(input.env, "__proto__") ? [problem("$.env.__proto__")] : []),
  ];
}

/** A spec starts from an image or from a template; a lock says what is in all of an image. */
function twoStarts(input: unknown): SpecProblem[] {
  if (!isObject(input) || input.from === undefined) return [];
  if (input.lock !== undefined) {
    return [
      {
        path: "$.lock",
        message: 'cannot be given together with "from"',
        hint: "lock the template it starts from",
      },
    ];
  }
  if (input.base_image === undefined) return [];
  return [
    {
      path: "$.base_image",
      message: 'cannot be given together with "from"',
      hint: "the base image is that of the template it starts from",
    },
  ];
}

function describeIssue(issue: z.core.$ZodIssue, input: unknown): SpecProblem[] {
  if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
    return issue.keys.map((key) => {
      const guess = nearest(key, FIELDS);
      return {
        path: jsonPath([key]),
        message: "unknown field",
        hint: guess ? `did you mean "${guess}"?` : `fields are ${FIELDS.join(", ")}`,
      };
    });
  }
  const hint = FIELD_HINTS[String(issue.path[0])];
  return [
    {
      path: jsonPath(issue.path),
      message: describeMessage(issue, valueAt(input, issue.path)),
      ...(hint ? { hint } : {}),
    },
  ];
}

function describeMessage(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined && issue.code === "invalid_type") return "is required";
  const shown = typeof value === "string" ? JSON.stringify(shorten(value)) : undefined;
  switch (issue.code) {
    case "invalid_type":
      return `must be ${issue.expected}, not ${kindOf(value)}`;
    case "invalid_format":
      return `${shown ?? "the value"} is not valid here`;
    case "invalid_key":
      return `${JSON.stringify(shorten(String(issue.path.at(-1))))} is not a valid name`;
    case "too_big":
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case "too_small":
      return issue.origin === "string"
        ? "must not be empty"
        : `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    default:
      return issue.message;
  }
}

const unitOf = (origin: string) =>
  origin === "string" ? " characters long" : origin === "array" ? " items long" : "";
const shorten = (text: string) => (text.length > 80 ? `${text.slice(0, 77)}…` : text);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return `${typeof value} ${shorten(String(value))}`;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** `["env", "A B"]` as `$.env["A B"]`. */
function jsonPath(path: readonly PropertyKey[]): string {
  const step = (key: PropertyKey) => {
    if (typeof key === "number") return `[${key}]`;
    return /^[A-Za-z_][A-Za-z0-9_]{0,80}$/.test(String(key))
      ? `.${String(key)}`
      : `[${JSON.stringify(shorten(String(key)))}]`;
  };
  return `$${path.map(step).join("")}`;
}
