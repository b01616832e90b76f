import type { EngineName } from "@kiln/host/vmm/engines.ts";
import { findFirecrackers } from "@kiln/host/vmm/firecracker/find.ts";
import { findQemuProcesses } from "@kiln/host/vmm/qemu/find.ts";
import { processesOf } from "../../support/leftovers.ts";
import type { Random } from "../../support/random.ts";
import type { DaemonKeeper } from "./daemon-keeper.ts";

/** The last two are there with Firecracker alone. */
export const VICTIMS = [
  "daemon",
  "block server",
  "network server",
  "vm",
  "zygote",
  "link",
  "slot helper",
] as const;
export type Victim = (typeof VICTIMS)[number];

/** How often each is chosen. */
const CHOICE: readonly Victim[] = [
  ...Array<Victim>(4).fill("daemon"),
  ...Array<Victim>(3).fill("block server"),
  ...Array<Victim>(2).fill("vm"),
  "network server",
  "zygote",
];
const FIRECRACKER_CHOICE: readonly Victim[] = [
  ...Array<Victim>(2).fill("daemon"),
  ...Array<Victim>(3).fill("vm"),
  "block server",
  "zygote",
  "link",
  "slot helper",
];

/** What servers and helpers are known by: name and command line. */
const PROGRAMS = {
  "block server": "block/server/main.ts",
  "network server": "network/server/main.ts",
  zygote: "zygote.pl: ",
  link: "tap.pl: ",
  "slot helper": "nbd/slots.pl",
} as const;

/** How long after a kill failures are its consequence, in milliseconds. */
const AFTERMATH_MS = 20_000;

/** Kills parts of a home's daemon, and knows what that excuses. */
export class Kills {
  readonly #home: string;
  readonly #keeper: DaemonKeeper;
  /** Ids of sandboxes whose VM was killed. */
  readonly vms = new Set<string>();
  readonly counts = Object.fromEntries(VICTIMS.map((victim) => [victim, 0])) as Record<Victim, number>;
  readonly #choice: readonly Victim[];
  readonly #aftermathMs: number;
  #last = Number.NEGATIVE_INFINITY;

  constructor(home: string, keeper: DaemonKeeper, engine: EngineName | undefined, slowness: number) {
    this.#home = home;
    this.#keeper = keeper;
    this.#choice = engine === "firecracker" ? FIRECRACKER_CHOICE : CHOICE;
    this.#aftermathMs = slowness * AFTERMATH_MS;
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /** Whether something was killed after `time` or shortly before. */
  since(time: number): boolean {
    return this.#last > time - this.#aftermathMs;
  }

  /** @returns who was killed, or undefined when the one chosen was not there. */
  async one(random: Random): Promise<string | undefined> {
    const victim = random.pick(this.#choice);
    const pid = victim === "vm" ? await this.#someVm(random) : await this.#pidOf(victim, random);
    if (pid === undefined) return undefined;
    this.#last = performance.now();
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      return undefined; // It ended by itself in the meantime.
    }
    this.counts[victim] += 1;
    return `${victim} ${pid}`;
  }

  async #someVm(random: Random): Promise<number | undefined> {
    const below = `${this.#home}/sandboxes/`;
    const isOurs = (directory: string) => directory.startsWith(below);
    const found = [...(await findQemuProcesses(isOurs)), ...(await findFirecrackers(isOurs))];
    if (found.length === 0) return undefined;
    const { process: id, directory } = random.pick(
      found.toSorted((a, b) => (a.directory < b.directory ? -1 : 1)),
    );
    this.vms.add(directory.slice(below.length).split("/")[0] ?? "");
    return Number.parseInt(id, 10);
  }

  async #pidOf(victim: Exclude<Victim, "vm">, random: Random): Promise<number | undefined> {
    if (victim === "daemon") return this.#keeper.pid;
    const found = [...(await processesOf(this.#home))]
      .filter(([, command]) => command.includes(PROGRAMS[victim]))
      .map(([pid]) => pid);
    return found.length === 0 ? undefined : random.pick(found);
  }
}
