import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import { join } from "node:path";
import { KilnError } from "../../errors.ts";
import { firstLine } from "../../os/first-line.ts";

const SCRIPT = join(import.meta.dirname, "launcher.pl");
/** A folder that is certainly there and that no VMM sees anything of: it is covered in the launcher's mount namespace. */
const COVERED = import.meta.dirname;
/** How much of what it says is kept, in characters. */
const LAST_WORDS_CHARACTERS = 2_000;

export interface LauncherOptions {
  /** Whether the VMM gets a view and namespaces of its own. */
  ownView: boolean;
  /** A process whose network namespace the VMM is to be in. @default one of its own, with nothing in it */
  networkOf?: number | undefined;
  /** What the VMM inherits as its descriptor 3. */
  inherited?: Socket | undefined;
}

/** Words of one line for a launcher; the first is what is asked for. See `launcher.pl`. */
export type LauncherLine = readonly (string | number)[];

/**
 * A process that waits to become a VMM, with all that could be made ahead. It ends with this process unless it is told to outlive it.
 */
export class Launcher {
  readonly child: ChildProcess;
  #heard = "";

  private constructor(child: ChildProcess) {
    this.child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#heard = (this.#heard + text).slice(-LAST_WORDS_CHARACTERS);
    });
    child.stdin?.on("error", () => undefined); // Its end tells more.
  }

  /** Starts one; it is ready when this resolves. @throws KilnError `VM_FAILED` when this host does not let it. */
  static async start({ ownView, networkOf, inherited }: LauncherOptions): Promise<Launcher> {
    const words = [SCRIPT, String(process.pid), ownView ? COVERED : ""];
    const child = spawn("perl", networkOf === undefined ? words : [...words, `/proc/${networkOf}/ns/net`], {
      stdio: ["pipe", "pipe", "pipe", ...(inherited === undefined ? [] : [inherited])],
      env: { PATH: process.env.PATH ?? "" },
      detached: true, // Ctrl-C in the terminal is for the owner.
    });
    const launcher = new Launcher(child);
    try {
      await firstLine(child);
    } catch (cause) {
      launcher.end();
      const said = launcher.lastWords || (cause instanceof Error ? cause.message : String(cause));
      throw new KilnError("VM_FAILED", `no VM can be started: ${said}`, { cause });
    }
    launcher.#keepOwner(false);
    return launcher;
  }

  /** Whether it is still there to be used. */
  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** What it, and the VMM after it, has said on standard error, unless that is a file. */
  get lastWords(): string {
    return this.#heard.trim();
  }

  /**
   * Has it do what the lines say and then become `program`. Whether that succeeds shows in its end.
   * @param keepsOwner whether it is a reason for this process to stay.
   */
  become(
    lines: readonly LauncherLine[],
    [program, args]: [string, readonly string[]],
    keepsOwner: boolean,
  ): void {
    const request = [...lines, ["become", program, ...args]];
    this.child.stdin?.end(
      request.map((line) => `${line.map((word) => encodeURIComponent(word)).join(" ")}\n`).join(""),
    );
    if (keepsOwner) this.#keepOwner(true);
  }

  /** Ends it, and the VMM that it has become. */
  end(): void {
    this.child.kill("SIGKILL");
  }

  #keepOwner(keeps: boolean): void {
    const change = keeps ? "ref" : "unref";
    this.child[change]();
    for (const pipe of this.child.stdio) if (pipe instanceof Socket) pipe[change]();
  }
}
