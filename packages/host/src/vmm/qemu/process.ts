import { type ChildProcess, spawn } from "node:child_process";
import { KilnError } from "../../errors.ts";
import { diesWithOwner } from "../../os/owned-process.ts";
import type { VmExit } from "../vmm.ts";

/** How much of QEMU's last words is kept. */
const LAST_WORDS_CHARACTERS = 2_000;

/** A running QEMU: its exit is known, with what it said last, and it dies with this process. */
export class QemuProcess {
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  readonly #child: ChildProcess;
  readonly #gone = new AbortController();
  #lastWords = "";
  #stopping = false;

  /** `incoming` is inherited as file descriptor 3. */
  constructor(binary: string, args: readonly string[], incoming?: number) {
    const [command, words] = diesWithOwner(binary, args);
    this.#child = spawn(command, words, {
      stdio: ["ignore", "ignore", "pipe", ...(incoming === undefined ? [] : [incoming])],
      env: { PATH: process.env.PATH ?? "", TMPDIR: "/nonexistent" },
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS_CHARACTERS);
    });
    this.pid = this.#child.pid ?? -1;
    this.exited = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve({ expected: false, reason: error.message }));
      // "close" rather than "exit": by then its last words have been read.
      this.#child.once("close", (code, signal) => {
        const how = signal === null ? `QEMU ended with exit code ${code}` : `QEMU was killed by ${signal}`;
        const said = this.#lastWords.trim();
        resolve({ expected: this.#stopping, reason: said === "" ? how : `${how}: ${said}` });
      });
    });
    void this.exited.then((exit) => this.#gone.abort(new KilnError("VM_FAILED", exit.reason)));
  }

  /** Fires, with the reason as KilnError, when QEMU is gone. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}
