import { join } from "node:path";
import { KilnError } from "../../errors.ts";
import type { ForkedProcess } from "../zygote/forked-process.ts";
import { Zygote } from "../zygote/zygote.ts";

const SCRIPT = join(import.meta.dirname, "launcher.pl");
/** A folder that is certainly there and that no VMM sees anything of: it is covered in the launcher's mount namespace. */
const COVERED = import.meta.dirname;

export interface LauncherOptions {
  /** Whether the VMM gets a view and namespaces of its own. */
  ownView: boolean;
  /** A process whose network namespace the VMM is to be in, and whose input does not end before the VMM does. @default a namespace with nothing in it */
  linkedTo?: ForkedProcess | undefined;
}

/** Words of one line for a launcher; the first is what is asked for. See `launcher.pl`. */
export type LauncherLine = readonly (string | number)[];

/**
 * A process that waits to become a VMM, with all that could be made ahead. It ends with this process unless it is told to outlive it.
 */
export class Launcher {
  readonly process: ForkedProcess;

  private constructor(process: ForkedProcess) {
    this.process = process;
  }

  /** Starts one; it is ready when this resolves. @throws KilnError `VM_FAILED` when this host does not let it, `HOST_UNSUPPORTED`. */
  static async start({ ownView, linkedTo }: LauncherOptions): Promise<Launcher> {
    const zygote = await Zygote.get();
    const words = [ownView ? COVERED : ""];
    if (linkedTo !== undefined) words.push(`/proc/${linkedTo.pid}/ns/net`);
    const forked = zygote.fork(SCRIPT, words, linkedTo);
    try {
      const line = await forked.line();
      if (line !== "ready") throw new Error(line);
      return new Launcher(forked);
    } catch (cause) {
      forked.kill();
      const said = forked.lastWords || (cause instanceof Error ? cause.message : String(cause));
      throw new KilnError("VM_FAILED", `no VM can be started: ${said}`, { cause });
    }
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
    this.process.write(
      request.map((line) => `${line.map((word) => encodeURIComponent(word)).join(" ")}\n`).join(""),
    );
    this.process.closeInput();
    if (keepsOwner) this.process.keepOwner();
  }
}
