import { z } from "zod";
import { KilnError } from "../../errors.ts";
import { parseEntry } from "./entry.ts";

/** Most entries of an allow list. */
export const MAX_ENTRIES = 256;
/** Longest entry, in characters: a name of 253, `*.`, a port. */
const MAX_ENTRY = 261;

const Entry = z
  .string()
  .max(MAX_ENTRY)
  .superRefine((text, context) => {
    const entry = parseEntry(text);
    if (typeof entry === "string") context.addIssue({ code: "custom", message: entry });
  });

/**
 * What a sandbox can reach: nothing, the internet, or what is listed. An entry is a name (`example.com`), all names
 * below one (`*.example.com`), an IPv4 address or a range of them (`203.0.113.0/24`), each with `:PORT` or for every
 * port.
 */
export const NetworkPolicy = z.union(
  [z.literal(["none", "full"]), z.strictObject({ allow: z.array(Entry).max(MAX_ENTRIES) })],
  {
    error: (issue) =>
      issue.code === "invalid_union" && typeof issue.input === "object"
        ? undefined
        : 'must be "none", "full" or {"allow": […]}',
  },
);
export type NetworkPolicy = z.output<typeof NetworkPolicy>;

/** @throws KilnError `USAGE` that names the entry at fault. */
export function parsePolicy(input: unknown): NetworkPolicy {
  const parsed = NetworkPolicy.safeParse(input);
  if (parsed.success) return parsed.data;
  const issues = policyIssues(parsed.error);
  throw new KilnError("USAGE", `bad network policy: ${issues.join("; ")}`, {
    hint: 'for example "full", or {"allow": ["example.com", "*.example.com", "10.1.2.3:5432"]}',
    details: { issues },
  });
}

/** The issues of a union are those of the branch that was meant: the last, unless the input is no object at all. */
function policyIssues(error: z.ZodError): string[] {
  return error.issues.flatMap((issue) => {
    const meant = issue.code === "invalid_union" ? (issue.errors.at(-1) ?? []) : [];
    const issues = meant.length > 0 && meant[0]?.code !== "invalid_type" ? meant : [issue];
    return issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`));
  });
}
