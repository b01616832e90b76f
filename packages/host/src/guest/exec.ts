import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { type ExitStatus, signalNumber, toExitStatus } from "./exit-status.ts";
import type { Exec } from "./gen/kiln/agent/v1/agent.ts";
import { unwrapReply } from "./reply.ts";
import type { GuestStream } from "./stream.ts";

export { type ExitStatus, shellExitCode } from "./exit-status.ts";

export interface TerminalSize {
  rows: number;
  columns: number;
}

export interface ExecOptions {
  /** Program and arguments. Without a slash the program is looked up in the guest's PATH. */
  argv: readonly string[];
  /** On top of the image's environment. */
  env?: Readonly<Record<string, string>>;
  /** Working directory. @default the image's */
  cwd?: string;
  /** `name`, `name:group`, `uid` or `uid:gid`. @default the image's */
  user?: string;
  /** Whether standard input will be written. @default false: it is /dev/null */
  stdin?: boolean;
  /** Gives the program a terminal of this size; its error output then comes with its output. */
  terminal?: TerminalSize;
  /** Milliseconds until the program and its children are killed. @default no limit */
  timeoutMs?: number;
}

/** A program running in the guest. Read both outputs: they share one window, and an unread one holds the other up. */
export class ExecProcess {
  readonly #stream: GuestStream;

  constructor(stream: GuestStream) {
    this.#stream = stream;
  }

  get stdout(): AsyncIterable<Buffer> {
    return this.#stream.output;
  }

  get stderr(): AsyncIterable<Buffer> {
    return this.#stream.error;
  }

  /** Sends standard input; resolves when the guest has room again or the program is over. */
  writeStdin(bytes: Uint8Array): Promise<void> {
    return this.#stream.write(bytes);
  }

  endStdin(): Promise<void> {
    return this.#stream.end();
  }

  /** Signals the program's whole process group. */
  signal(name: NodeJS.Signals): Promise<void> {
    return this.#stream.control({ kind: { $case: "signal", value: signalNumber(name) } });
  }

  resize(size: TerminalSize): Promise<void> {
    return this.#stream.control({ kind: { $case: "resize", value: size } });
  }

  /** Kills the program and its process group. */
  cancel(): Promise<void> {
    return this.#stream.cancel();
  }

  /**
   * How it ended.
   * @throws KilnError `GUEST_ERROR` when it could not be started or was cancelled, `VM_FAILED` when the VM went away.
   */
  async exited(): Promise<ExitStatus> {
    return toExitStatus(unwrapReply(await this.#stream.reply, "exited"));
  }
}

/** The message that starts a program. @throws KilnError `USAGE`. */
export function toExec(options: ExecOptions): Exec {
  if (options.argv.length === 0) throw new KilnError("USAGE", "there is no command to run");
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  for (const text of [...options.argv, ...env, options.cwd ?? "", options.user ?? ""]) {
    if (text.includes("\0"))
      throw new KilnError("USAGE", "arguments and environment cannot hold NUL characters");
  }
  return {
    argv: [...options.argv],
    env,
    cwd: options.cwd ?? "",
    user: options.user ?? "",
    stdin: options.stdin ?? false,
    terminal: options.terminal,
    timeoutMs: BigInt(options.timeoutMs ?? 0),
    keep: undefined,
  };
}

/** Starts a program in the guest. Whether it could be started shows in `exited()`. */
export function exec(connection: GuestConnection, options: ExecOptions): ExecProcess {
  return new ExecProcess(connection.open({ kind: { $case: "exec", value: toExec(options) } }));
}
