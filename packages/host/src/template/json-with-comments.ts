import type { ParseError } from "jsonc-parser";
import { KilnError } from "../errors.ts";

/**
 * What `text` says: JSON, in which comments and trailing commas are allowed.
 *
 * @param source what the text came from, for messages.
 * @throws KilnError `SPEC_INVALID` with line and column of the first mistake.
 */
export async function parseJsonWithComments(text: string, source: string): Promise<unknown> {
  try {
    return JSON.parse(text);
  } catch {
    return parseWithComments(text, source); // Which says better where a mistake is, too.
  }
}

async function parseWithComments(text: string, source: string): Promise<unknown> {
  const { default: jsonc } = await import("jsonc-parser");
  const errors: ParseError[] = [];
  const tree = jsonc.parseTree(text, errors, { allowTrailingComma: true });
  const first = errors[0];
  // Objects without a prototype: a key named __proto__ stays a key, and the schema refuses it.
  if (first === undefined && tree !== undefined) return jsonc.getNodeValue(tree);
  const before = text.slice(0, first?.offset ?? 0).split("\n");
  const where = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
  const what = first === undefined ? "it is empty" : words(jsonc.printParseErrorCode(first.error));
  throw new KilnError("SPEC_INVALID", `${source} is not JSON: ${what} at ${where}`);
}

/** `CommaExpected` as "comma expected". */
const words = (code: string) => code.replaceAll(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
