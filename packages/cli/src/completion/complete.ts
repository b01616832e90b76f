import { access } from "node:fs/promises";
import { resolveEndpoint } from "@kiln/sdk/transport/endpoint.ts";
import { Command } from "commander";
import { openClient } from "../client.ts";
import { COMMANDS } from "../command-table.ts";

/** A shell waits for this: whoever does not answer in time, in milliseconds, is left out. */
const PATIENCE_MS = 1_500;

/** What the last of the words so far may become. Starts no daemon. */
export async function complete(words: readonly string[]): Promise<string[]> {
  const typed = words.at(-1) ?? "";
  return (await candidates(words.slice(0, -1), typed)).filter((word) => word.startsWith(typed)).sort();
}

async function candidates(before: readonly string[], typed: string): Promise<string[]> {
  const [name, ...rest] = before;
  if (name === undefined) return [...COMMANDS.map((entry) => entry.name), "help", "--help", "--version"];
  const entry = COMMANDS.find((candidate) => candidate.name === name);
  if (entry === undefined) return name === "help" ? COMMANDS.map((candidate) => candidate.name) : [];
  const program = new Command().enablePositionalOptions();
  (await entry.load())(program);
  let command = program.commands.find((candidate) => candidate.name() === name);
  let path = rest;
  while (command !== undefined && command.commands.length > 0) {
    const [next, ...others] = path;
    if (next === undefined) return [...command.commands.map((candidate) => candidate.name()), "--help"];
    command = command.commands.find((candidate) => candidate.name() === next);
    path = others;
  }
  return command === undefined ? [] : ofCommand(command, path, typed);
}

/** Options of a command, or values of the argument that comes next. */
async function ofCommand(command: Command, before: readonly string[], typed: string): Promise<string[]> {
  if (before.includes("--")) return [];
  if (typed.startsWith("-"))
    return [...command.options.flatMap(({ short, long }) => long ?? short ?? []), "--help"];
  const last = before.at(-1);
  const previous = command.options.find(
    ({ short, long }) => last !== undefined && [short, long].includes(last),
  );
  if (previous?.required) return previous.long === "--template" ? templates() : [];
  const arguments_ = before.filter((word) => !word.startsWith("-"));
  const { registeredArguments } = command;
  const argument = registeredArguments[arguments_.length] ?? registeredArguments.at(-1);
  if (command.name() === "cp") return typed.includes(":") ? [] : (await sandboxes()).map((id) => `${id}:`);
  if (command.name() === "completion") return ["bash", "zsh", "fish"];
  const isNext = argument?.variadic || arguments_.length < registeredArguments.length;
  switch (isNext ? argument?.name() : undefined) {
    case "template":
      return templates();
    case "sandbox":
      return sandboxes();
    case "process":
      return processes(arguments_[0] ?? "");
    default:
      return [];
  }
}

/** The daemon's client, where there may be one: nobody waits for a daemon that does not run. */
async function client() {
  const endpoint = resolveEndpoint();
  if (endpoint.kind !== "tcp") await access(endpoint.socketPath);
  return openClient({ autostart: false });
}
const signal = () => AbortSignal.timeout(PATIENCE_MS);

async function templates(): Promise<string[]> {
  try {
    return (await (await client()).templates.list({ signal: signal() })).map(({ name }) => name);
  } catch {
    // No daemon runs: those that are files.
    const { KilnHome } = await import("@kiln/host/home.ts");
    const { listTemplates } = await import("@kiln/host/template/templates.ts");
    return (await listTemplates(KilnHome.fromEnvironment())).map(({ name }) => name);
  }
}

async function sandboxes(): Promise<string[]> {
  const ids: string[] = [];
  try {
    for await (const { id } of (await client()).list({ signal: signal() })) ids.push(id);
  } catch {
    // Without a daemon there is none to name.
  }
  return ids;
}

async function processes(sandboxId: string): Promise<string[]> {
  try {
    const sandbox = await (await client()).get(sandboxId, { signal: signal() });
    return (await sandbox.processes({ signal: signal() })).map(({ id }) => id);
  } catch {
    return [];
  }
}
