import { KilnError } from "@kiln/sdk/errors.ts";

/** One end of a copy. */
export type Place =
  | { kind: "here"; path: string }
  | { kind: "sandbox"; id: string; path: string }
  /** Standard input or output. */
  | { kind: "stream" };

/** `SANDBOX:PATH` is in a sandbox; anything with a slash before its first colon, or without one, is here. */
export function parsePlace(text: string): Place {
  if (text === "-") return { kind: "stream" };
  const match = /^([a-z][a-z0-9]{0,11}):(.*)$/s.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return { kind: "here", path: text };
  if (match[2] === "") {
    throw new KilnError("USAGE", `${text} names no path`, {
      hint: `${text}. is the template's working directory`,
    });
  }
  return { kind: "sandbox", id: match[1], path: match[2] };
}
