import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { diesWithOwner } from "@kiln/host/os/owned-process.ts";

const run = promisify(execFile);

/** Addresses that are public by their number and are given to nobody (RFC 5737). */
export const HOST_SIDE = "198.51.100.1";
export const WORLD = "198.51.100.2";
export const OTHER = "198.51.100.3";
/** Private, and behind the same link. */
export const INTERNAL = "10.77.0.2";

/** What the host's resolver knows of them. */
const HOSTS = `127.0.0.1 localhost
${WORLD} example.test api.example.test shared.test
${OTHER} other.test
${INTERNAL} rebind.test named.test
127.0.0.1 loop.test
`;

/** Why there can be no namespaces here, or undefined. */
export async function missing(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const name = `kiln-try-${process.pid}`;
  try {
    await run("ip", ["netns", "add", name]);
    await run("ip", ["netns", "del", name]);
    return undefined;
  } catch (error) {
    return `no network namespaces here: ${String(error).split("\n")[0]}`;
  }
}

/** Servers in a network namespace that this machine reaches as if they were on the internet. */
export class World implements AsyncDisposable {
  /** A file to be used in the place of /etc/hosts. */
  readonly hosts: string;
  readonly #name: string;
  readonly #folder: string;
  readonly #servers: ChildProcess;

  private constructor(name: string, folder: string, servers: ChildProcess) {
    this.#name = name;
    this.#folder = folder;
    this.hosts = join(folder, "hosts");
    this.#servers = servers;
  }

  static async open(): Promise<World> {
    const name = `kiln-${process.pid}`;
    const [outside, inside] = [`kh${process.pid}`, `kw${process.pid}`];
    const ip = (...words: string[]) => run("ip", words);
    const folder = await mkdtemp(join(tmpdir(), "kiln-world-"));
    await writeFile(join(folder, "hosts"), HOSTS);
    await ip("netns", "add", name);
    try {
      await ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name);
      for (const address of [`${HOST_SIDE}/24`, "10.77.0.1/24"])
        await ip("addr", "add", address, "dev", outside);
      await ip("link", "set", outside, "up");
      for (const address of [`${WORLD}/24`, `${OTHER}/24`, `${INTERNAL}/24`])
        await ip("-n", name, "addr", "add", address, "dev", inside);
      await ip("-n", name, "link", "set", inside, "up");
      await ip("-n", name, "link", "set", "lo", "up");
      const script = join(import.meta.dirname, "world.ts");
      const [command, args] = diesWithOwner("ip", ["netns", "exec", name, process.execPath, script]);
      const servers = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
      if (servers.stdout === null) throw new Error("no pipe");
      await once(servers.stdout, "data");
      return new World(name, folder, servers);
    } catch (error) {
      await ip("netns", "del", name);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#servers, "exit");
    this.#servers.kill();
    await exited;
    // The pair of links goes with the namespace.
    await run("ip", ["netns", "del", this.#name]);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
