import type { EngineChoice } from "@kiln/sdk/types.ts";
import { InvalidArgumentError } from "commander";

/** Parser of a whole number within limits, for an option's value. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

const ENGINES: readonly string[] = ["auto", "qemu", "firecracker"] satisfies EngineChoice[];

/** Parser of an engine's name. */
export function engineName(text: string): EngineChoice {
  if (!ENGINES.includes(text)) throw new InvalidArgumentError(`It must be one of ${ENGINES.join(", ")}.`);
  return text as EngineChoice;
}

/** The option `--engine`. */
export const ENGINE_OPTION = [
  "--engine <name>",
  "qemu, firecracker, or auto, the best that works here (default: auto)",
  engineName,
] as const;

/** Collects repeated NAME=VALUE options; NAME alone takes the value of this process's environment. */
export function environmentVariable(
  text: string,
  previous: Record<string, string> = {},
): Record<string, string> {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    throw new InvalidArgumentError("It must be NAME=VALUE or NAME.");
  const value = equals < 0 ? process.env[name] : text.slice(equals + 1);
  if (value === undefined) throw new InvalidArgumentError(`${name} is not set here.`);
  return { ...previous, [name]: value };
}

/** Parser of a duration such as `500ms`, `30s`, `5m`, `2h`, `7d` or plain seconds; gives milliseconds. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? "s"];
  const value = Math.round(Number(match?.[1]) * (factor ?? Number.NaN));
  if (!Number.isSafeInteger(value) || value <= 0)
    throw new InvalidArgumentError("It must be like 500ms, 30s, 5m, 2h or 7d.");
  return value;
}

/** Collects repeated KEY=VALUE options. */
export function keyValue(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals <= 0) throw new InvalidArgumentError("It must be KEY=VALUE.");
  return { ...previous, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** Collects a repeated option. */
export const repeated = (text: string, previous: string[] = []): string[] => [...previous, text];

/** Takes out what was not given, so that defaults apply. */
export function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** Program and arguments of a command line that was passed through, without the "--" that may stand before them. */
export const programOf = (argv: readonly string[]): string[] =>
  argv[0] === "--" ? argv.slice(1) : [...argv];
