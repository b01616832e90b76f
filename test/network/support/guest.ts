import { randomUUID } from "node:crypto";
import type { GuestAgent } from "@kiln/host/guest/agent.ts";
import type { NetworkStats } from "@kiln/host/network/control-protocol.ts";
import type { NetworkService } from "@kiln/host/network/network-service.ts";
import type { NetworkPolicy } from "@kiln/host/network/policy/schema.ts";
import type { Vm } from "@kiln/host/vmm/vmm.ts";
import type { TestMachines } from "../../vm/support/machine.ts";

/** What every script begins with: connections that say how they went. */
const PRELUDE = `
import errno, socket, ssl, struct, sys, threading, time
def probe(host, port, timeout=20):
    try:
        # An ICMP answer that another processor takes while this one polls may leave a socket that is closed, with its error
        # gone (Linux 6.1: one in a hundred): only who has a peer is connected.
        with socket.create_connection((host, port), timeout) as s:
            s.getpeername()
        return "open"
    except socket.gaierror as e:
        return "no name"
    except TimeoutError:
        return "timeout"
    except OSError as e:
        if e.errno == errno.ENOTCONN: return probe(host, port, timeout)
        return errno.errorcode.get(e.errno, str(e))
def talk(host, port, data, timeout=20):
    try:
        s = socket.create_connection((host, port), timeout)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            part = s.recv(65536)
            if not part: return answer
            answer += part
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))
`;

/** A VM with a network. */
export class Guest implements AsyncDisposable {
  readonly id: string;
  readonly vm: Vm;
  readonly #agent: GuestAgent;
  readonly #networks: NetworkService;
  readonly #release: () => Promise<void>;

  private constructor(
    id: string,
    vm: Vm,
    agent: GuestAgent,
    networks: NetworkService,
    release: () => Promise<void>,
  ) {
    this.id = id;
    this.vm = vm;
    this.#agent = agent;
    this.#networks = networks;
    this.#release = release;
  }

  static async start(
    machines: TestMachines,
    networks: NetworkService,
    policy: NetworkPolicy,
  ): Promise<Guest> {
    const id = randomUUID();
    const { config, disk } = await machines.place();
    const { vmm, snapshot } = machines.bootable;
    const vm = await vmm.restore(config, snapshot.files);
    await networks.add({ id, socketPath: vm.networkSocket, policy });
    const agent = await machines.greet(vm, machines.firstGeneration);
    return new Guest(id, vm, agent, networks, async () => {
      agent.close();
      await vm.stop();
      await networks.remove(id);
      await disk.discard();
    });
  }

  /** Runs a Python script and gives what it printed. */
  async python(script: string): Promise<string> {
    return this.run(["python3", "-c", PRELUDE + script]);
  }

  async run(argv: string[]): Promise<string> {
    const { stdout, stderr, exitCode } = await this.#agent.run({ argv });
    if (exitCode !== 0) throw new Error(`${argv[0]} ended with ${exitCode}: ${stderr}`);
    return stdout.trim();
  }

  stats(): Promise<NetworkStats> {
    return this.#networks.stats(this.id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#release();
  }
}
