import { KilnError } from "@kiln/sdk/errors.ts";
import type { EngineChoice, Network } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { given } from "../options.ts";
import { createProgress } from "../output/progress.ts";
import type { Signals } from "../signals.ts";
import { templateName } from "../template/template-name.ts";
import { attach, terminalSize } from "./attach.ts";

/** bash where the image has it, else sh. */
export const SHELL = [
  "/bin/sh",
  "-c",
  "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi",
];

export interface RunRequest {
  template: string;
  /** Program and arguments; none for a shell. */
  argv: string[];
  env?: Record<string, string>;
  cwd?: string;
  user?: string;
  vcpu?: number;
  memoryMib?: number;
  engine?: EngineChoice;
  network?: Network;
  timeoutMs?: number;
  /** Whether the command gets a terminal. */
  tty: boolean;
}

/** Runs a command in a fresh sandbox with this process's standard streams; returns the exit code to end with. */
export async function runCommand(request: RunRequest, signals: Signals): Promise<number> {
  const { template, argv, vcpu, memoryMib, engine, network, tty, ...rest } = request;
  const signal = signals.cancelled;
  const client = openClient();
  const onProgress = createProgress();
  const variant = given({ vcpu, memoryMib, engine });
  const image = await templateName(client, template, { ...variant, signal, onProgress });
  // Held: the daemon ends it with this process, however that ends.
  await using sandbox = await client.sandbox({
    image,
    ...variant,
    ...(network === undefined ? {} : { network }),
    held: true,
    signal,
    onProgress,
  });
  const command = await sandbox.start(argv.length === 0 ? SHELL : argv, {
    ...rest,
    stdin: true,
    ...(tty ? { terminal: terminalSize() } : {}),
    signal,
  });
  const result = await attach(command, { signals, tty, stdin: true, forwardSignals: true });
  if (result.how === "ended") return result.exitCode;
  throw new KilnError("CANCELLED", "cancelled");
}
