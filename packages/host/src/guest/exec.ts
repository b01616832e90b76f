import { constants } from "node:os";
import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { unwrapReply } from "./reply.ts";
import type { GuestStream } from "./stream.ts";

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

/** How a program ended: by itself with `code`, or by `signal`. */
export interface ExitStatus {
  /** Exit code, or undefined when a signal ended it. */
  code: number | undefined;
  /** Name of the signal that ended it, such as `SIGKILL`. */
  signal: NodeJS.Signals | undefined;
  /** Whether it was killed because `timeoutMs` had passed. */
  timedOut: boolean;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = constants.signals;
const SIGNAL_NAMES = new Map(
  Object.entries(SIGNAL_NUMBERS).map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** What a shell would report for `status`: the code, or 128 plus the signal's number. */
export function shellExitCode(status: ExitStatus): number {
  if (status.signal !== undefined) return 128 + (SIGNAL_NUMBERS[status.signal] ?? 0);
  return status.code ?? 255;
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
    const number = SIGNAL_NUMBERS[name];
    if (number === undefined) throw new KilnError("USAGE", `unknown signal "${name}"`);
    return this.#stream.control({ kind: { $case: "signal", value: number } });
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
    const exited = unwrapReply(await this.#stream.reply, "exited");
    const status = exited.status;
    const signal = status?.$case === "signal" ? SIGNAL_NAMES.get(status.value) : undefined;
    if (status?.$case === "signal" && signal === undefined) {
      throw new KilnError("GUEST_PROTOCOL", `the guest reported signal ${status.value}`);
    }
    return { code: status?.$case === "code" ? status.value : undefined, signal, timedOut: exited.timedOut };
  }
}

/** Starts a program in the guest. Whether it could be started shows in `exited()`. */
export function exec(connection: GuestConnection, options: ExecOptions): ExecProcess {
  if (options.argv.length === 0) throw new KilnError("USAGE", "there is no command to run");
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  for (const text of [...options.argv, ...env, options.cwd ?? "", options.user ?? ""]) {
    if (text.includes("\0"))
      throw new KilnError("USAGE", "arguments and environment cannot hold NUL characters");
  }
  const stream = connection.open({
    kind: {
      $case: "exec",
      value: {
        argv: [...options.argv],
        env,
        cwd: options.cwd ?? "",
        user: options.user ?? "",
        stdin: options.stdin ?? false,
        terminal: options.terminal,
        timeoutMs: BigInt(options.timeoutMs ?? 0),
      },
    },
  });
  return new ExecProcess(stream);
}
