import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KilnError } from "../../errors.ts";
import { ForkedProcess } from "./forked-process.ts";

const SCRIPT = join(import.meta.dirname, "zygote.pl");

let current: Promise<Zygote> | undefined;

/** A small process that forks others for this one, which it dies with. There is one, and another one when that was killed. */
export class Zygote {
  readonly #child: ChildProcess;
  readonly #processes = new Map<string, ForkedProcess>();
  #started = 0;
  /** How many reasons there are for this process to stay. */
  #holds = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin?.on("error", () => undefined); // Its end tells more.
    if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => this.#hear(line));
    child.once("close", () => this.#lose());
    this.#keepOwner(false);
  }

  /** The one of this process. @throws KilnError `HOST_UNSUPPORTED` when there is no perl. */
  static async get(): Promise<Zygote> {
    current ??= Zygote.#start();
    try {
      return await current;
    } catch (error) {
      current = undefined;
      throw error;
    }
  }

  static async #start(): Promise<Zygote> {
    const child = spawn("perl", [SCRIPT, String(process.pid)], {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true, // Ctrl-C in the terminal is for the owner.
    });
    try {
      await once(child, "spawn");
    } catch (cause) {
      throw new KilnError("HOST_UNSUPPORTED", "no VM can be started: perl cannot be run", {
        cause,
        hint: "apt-get install perl-base",
      });
    }
    return new Zygote(child);
  }

  /**
   * Forks a process that runs the `main` of a Perl script.
   * @param keepsInputOf one whose input does not end before this one does, and what it becomes.
   */
  fork(script: string, words: readonly string[], keepsInputOf?: ForkedProcess): ForkedProcess {
    this.#started += 1;
    const number = String(this.#started);
    const forked = new ForkedProcess(number, {
      send: (verb, text) => this.#send(verb, number, ...(text === undefined ? [] : [toHex(text)])),
      hold: () => this.#hold(),
    });
    this.#processes.set(number, forked);
    const program = [script, ...words].map(toHex);
    if (keepsInputOf === undefined) this.#send("start", number, ...program);
    else this.#send("start-with", number, keepsInputOf.number, ...program);
    return forked;
  }

  #send(...words: string[]): void {
    this.#child.stdin?.write(`${words.join(" ")}\n`);
  }

  #hear(line: string): void {
    const [verb, number = "", first = "", second = ""] = line.split(" ");
    const forked = this.#processes.get(number);
    if (verb === "started") forked?.onStarted(Number(first));
    else if (verb === "said") forked?.onSaid(Buffer.from(first, "hex").toString());
    else if (verb === "ended") {
      this.#processes.delete(number);
      forked?.onEnded({ code: Number(first), signal: Number(second) });
    }
  }

  /** It was killed. What was to die with it does; who outlives it has to be watched. */
  #lose(): void {
    current = undefined;
    for (const forked of this.#processes.values()) forked.onLost();
    this.#processes.clear();
  }

  #hold(): Disposable {
    this.#holds += 1;
    if (this.#holds === 1) this.#keepOwner(true);
    return {
      [Symbol.dispose]: () => {
        this.#holds -= 1;
        if (this.#holds === 0) this.#keepOwner(false);
      },
    };
  }

  #keepOwner(keeps: boolean): void {
    const change = keeps ? "ref" : "unref";
    this.#child[change]();
    for (const pipe of this.#child.stdio) if (pipe instanceof Socket) pipe[change]();
  }
}

const toHex = (text: string): string => Buffer.from(text).toString("hex");
