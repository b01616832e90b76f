import { execFile, spawn } from "node:child_process";
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
  try {
    await run("unshare", ["--net", "--mount", "ip", "link", "show"]);
    return undefined;
  } catch (error) {
    return `no network namespaces here: ${String(error).split("\n")[0]}`;
  }
}

/**
 * Servers in a network namespace that this machine reaches as if they were on the internet. The namespace has no name: it ends with the
 * servers, which end with this process, and the link to it goes with it. A link that is left has their addresses, and nobody behind it.
 */
export class World implements AsyncDisposable {
  /** A file to be used in the place of /etc/hosts. */
  readonly hosts: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(hosts: string, resources: AsyncDisposableStack) {
    this.hosts = hosts;
    this.#resources = resources;
  }

  static async open(): Promise<World> {
    await using resources = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "kiln-world-"));
    resources.defer(() => rm(folder, { recursive: true, force: true }));
    const hosts = join(folder, "hosts");
    await writeFile(hosts, HOSTS);

    const script = [process.execPath, join(import.meta.dirname, "world.ts")];
    const [command, args] = diesWithOwner("unshare", ["--net", "--", ...script]);
    const servers = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(servers, "exit");
    resources.defer(async () => {
      servers.kill();
      await exited;
    });
    if (servers.stdout === null || servers.pid === undefined) throw new Error("there are no servers");
    const died = exited.then(([code]) => Promise.reject(new Error(`the servers ended with ${code}`)));
    await Promise.race([once(servers.stdout, "data"), died]);
    died.catch(() => undefined); // From here on whoever talks to them notices.
    await connect(servers.pid);
    return new World(hosts, resources.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** Makes a link between this machine and the network namespace of the process `pid`. */
async function connect(pid: number): Promise<void> {
  const [outside, inside] = [`kh${process.pid}`, `kw${process.pid}`];
  const ip = (...words: string[]) => run("ip", words);
  const ipInside = (...words: string[]) => run("nsenter", ["--net", `--target=${pid}`, "--", "ip", ...words]);
  await ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", String(pid));
  for (const address of [`${HOST_SIDE}/24`, "10.77.0.1/24"]) await ip("addr", "add", address, "dev", outside);
  await ip("link", "set", outside, "up");
  for (const address of [`${WORLD}/24`, `${OTHER}/24`, `${INTERNAL}/24`])
    await ipInside("addr", "add", address, "dev", inside);
  await ipInside("link", "set", inside, "up");
  await ipInside("link", "set", "lo", "up");
}
