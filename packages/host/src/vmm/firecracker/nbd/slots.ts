import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { KilnError } from "../../../errors.ts";
import { diesWithOwner } from "../../../os/owned-process.ts";
import { checkNbdModule } from "./module.ts";

const SCRIPT = join(import.meta.dirname, "slots.pl");
/** Where the device nodes are that a VM gets: its own, beside those of the host's device manager. */
export const NODES = "/dev/kiln";
/** How long the helper may take for one request, in milliseconds: it gives up its own waits before. */
const HELPER_PATIENCE_MS = 90_000;

/** A helper that ends sooner, in milliseconds, is replaced when the next slot is needed rather than at once. */
const HELPER_LIFE_MS = 1_000;

/** An export of a block server. */
export interface NbdExport {
  socketPath: string;
  exportName: string;
}

/** A `/dev/nbdX` that is connected to an export. */
export interface NbdSlot {
  /** The X. */
  readonly number: number;
  /** A device node of it, which belongs to the user it was attached for. */
  readonly node: string;
  /** Folder of the VM it was attached for. */
  readonly directory: string;
}

interface Waiting {
  resolve(result: string): void;
  reject(error: KilnError): void;
}

/**
 * This process's way to the kernel's NBD slots: one helper process, started with the first request. No two processes on a host get the
 * same slot, and none gets one that the kernel has not let go of.
 */
export class NbdSlots {
  #helper: Promise<ChildProcess> | undefined;
  readonly #waiting = new Map<number, Waiting>();
  /** The slots in this process's care, by number. */
  readonly #held = new Map<number, { directory: string; target: NbdExport }>();
  #nextId = 1;
  #heard = "";

  /** Starts the helper ahead of the first VM. A failure shows in whoever needs a slot. */
  warm(): void {
    this.#running().catch(() => undefined);
  }

  /**
   * Connects a free slot for the VM in `directory`, whose VMM runs as `uid`.
   * @throws KilnError `HOST_UNSUPPORTED` without the module, `CAPACITY` when every slot is taken, `BLOCK_FAILED`.
   */
  async attach(directory: string, target: NbdExport, uid: number): Promise<NbdSlot> {
    const { socketPath, exportName } = target;
    const number = Number(await this.#request("attach", directory, socketPath, exportName, String(uid)));
    this.#held.set(number, { directory, target });
    return { number, node: join(NODES, `nbd${number}`), directory };
  }

  /** Takes up the slot of a VM that another process, which is gone, has attached. @throws KilnError `BLOCK_FAILED`. */
  async adopt(number: number, directory: string, target: NbdExport): Promise<NbdSlot> {
    await this.#request("adopt", String(number), directory, target.socketPath, target.exportName);
    this.#held.set(number, { directory, target });
    return { number, node: join(NODES, `nbd${number}`), directory };
  }

  /** From here on the slot goes with whoever has it open, however that one ends. */
  async bindToUser({ number }: NbdSlot): Promise<void> {
    await this.#request("bind", String(number));
  }

  /** Disconnects the slot if it still is connected. Resolves when the kernel has let go of it. */
  async detach({ number, directory }: NbdSlot): Promise<void> {
    if (this.#held.get(number)?.directory === directory) this.#held.delete(number);
    await this.#request("detach", String(number), directory);
  }

  /**
   * Disconnects a slot that was attached for the VM in `directory`, which is gone, by a process that is gone.
   * @throws KilnError `CAPACITY` when somebody has it in his care after all.
   */
  async free(number: number, directory: string): Promise<void> {
    await this.#request("free", String(number), directory);
  }

  /** Removes device nodes of slots that nobody has: of a helper that was killed. */
  async sweep(): Promise<void> {
    await this.#request("sweep");
  }

  async #request(...words: string[]): Promise<string> {
    return this.#ask(await this.#running(), ...words);
  }

  #ask(helper: ChildProcess, ...words: string[]): Promise<string> {
    const id = this.#nextId++;
    const answer = Promise.withResolvers<string>();
    this.#waiting.set(id, answer);
    this.#keepAlive(helper);
    // Whoever waits gets an error of its end, and whoever needs a slot then another helper.
    const patience = setTimeout(() => helper.kill("SIGKILL"), HELPER_PATIENCE_MS);
    helper.stdin?.write(`${[String(id), ...words].map(encodeURIComponent).join(" ")}\n`);
    return answer.promise.finally(() => clearTimeout(patience));
  }

  #running(): Promise<ChildProcess> {
    if (this.#helper === undefined) {
      const starting = this.#start();
      this.#helper = starting;
      starting.catch(() => {
        if (this.#helper === starting) this.#helper = undefined;
      });
    }
    return this.#helper;
  }

  async #start(): Promise<ChildProcess> {
    checkNbdModule();
    const [command, words] = diesWithOwner("perl", [SCRIPT]);
    const helper = spawn(command, words, { stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    helper.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-500);
    });
    helper.stdin.on("error", () => undefined); // Its end tells more.
    const failed = new Promise<KilnError>((resolve) => {
      const tell = (why: string) =>
        resolve(new KilnError("BLOCK_FAILED", `the helper for NBD devices is gone: ${why}`));
      helper.once("error", (error) => tell(error.message));
      helper.once("close", () => tell(said.trim() || "no reason given"));
    });
    const ready = once(helper.stdout.setEncoding("utf8"), "data").then(([line]) => String(line));
    const line = await Promise.race([ready, failed]);
    if (typeof line !== "string") throw line;
    if (line.trim() !== "ready")
      throw new KilnError("BLOCK_FAILED", "the kernel's nbd module has no netlink");
    const readyAt = performance.now();
    helper.stdout.on("data", (text: string) => this.#hear(text, helper));
    void failed.then((error) => {
      this.#helper = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
      // Somebody has to connect slots again whose server goes away. One that ends at once would do so again.
      if (this.#held.size > 0 && performance.now() - readyAt > HELPER_LIFE_MS) this.warm();
    });
    this.#keepAlive(helper);
    for (const [number, { directory, target }] of this.#held) {
      // Of an earlier helper. It may have gone with its VM meanwhile.
      this.#ask(helper, "adopt", String(number), directory, target.socketPath, target.exportName).catch(
        () => undefined,
      );
    }
    return helper;
  }

  #hear(text: string, helper: ChildProcess): void {
    const lines = (this.#heard + text).split("\n");
    this.#heard = lines.pop() ?? "";
    for (const line of lines) {
      const [, id, verdict, rest = ""] = /^(\d+) (ok|error) ?(.*)$/.exec(line) ?? [];
      const waiting = this.#waiting.get(Number(id));
      this.#waiting.delete(Number(id));
      if (verdict === "ok") waiting?.resolve(rest);
      else waiting?.reject(failure(rest));
    }
    this.#keepAlive(helper);
  }

  /** The helper is a reason for this process to stay only while an answer is awaited. */
  #keepAlive(helper: ChildProcess): void {
    const change = this.#waiting.size > 0 ? "ref" : "unref";
    helper[change]();
    for (const pipe of [helper.stdin, helper.stdout, helper.stderr]) {
      (pipe as { ref?(): void; unref?(): void } | null)?.[change]?.();
    }
  }
}

function failure(text: string): KilnError {
  const [kind, message = ""] = [text.slice(0, text.indexOf(" ")), text.slice(text.indexOf(" ") + 1)];
  if (kind !== "busy") return new KilnError("BLOCK_FAILED", `an NBD device could not be used: ${message}`);
  return new KilnError("CAPACITY", `no NBD device is to be had: ${message}`, {
    hint: "kiln nbd ls shows who has them; more of them: modprobe -r nbd && modprobe nbd nbds_max=256 max_part=0",
  });
}
