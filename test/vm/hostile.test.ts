/** A guest whose root wants to get out. What it tries is in support/attempts.ts; the same for every engine. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, stat } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { NetworkService } from "@kiln/host/network/network-service.ts";
import { isAlive } from "@kiln/host/os/process-id.ts";
import { Guest } from "../network/support/guest.ts";
import { openTestHome } from "../support/home.ts";
import { type Attempt, attempts } from "./support/attempts.ts";
import { TestMachines } from "./support/machine.ts";

const VICTIM_PORT = 4444;
/** Most that all files of a VM's folder may hold: sockets, lists and a log with a limit. */
const MAX_FOLDER_BYTES = 1024 * 1024;

describe("a guest whose root is hostile cannot", { timeout: 1_800_000 }, () => {
  const resources = new AsyncDisposableStack();
  let attacker: Guest;
  let victim: Guest;
  let listener: Server;
  let all: Attempt[];
  /** Connections that the host was asked for. */
  let reached = 0;

  before(async () => {
    const machines = resources.use(await TestMachines.open(resources.use(await openTestHome())));
    const networks = resources.use(new NetworkService(join(machines.directory, "net")));
    listener = createServer((socket) => {
      reached += 1;
      socket.destroy();
    });
    await once(listener.listen(0, "0.0.0.0"), "listening");
    resources.defer(() => void listener.close());
    const address = listener.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const host = Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).filter(({ family, internal }) => family === "IPv4" && !internal),
    );
    all = attempts({
      host: host.map(({ address }) => address),
      port,
      victimPort: VICTIM_PORT,
      secret: machines.home.root,
    });
    attacker = resources.use(await Guest.start(machines, networks, "full"));
    victim = resources.use(await Guest.start(machines, networks, "full"));
    // It keeps what it hears of others: datagrams, and frames that are not the gateway's.
    await victim.python(`
import os
if os.fork() == 0:
    os.setsid()
    for fd in range(3): os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); frames.bind(("eth0", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(("0.0.0.0", ${VICTIM_PORT}))
    import select
    log = open("/tmp/heard", "ab", 0)
    while True:
        for s in select.select([frames, datagrams], [], [])[0]:
            data, origin = s.recvfrom(70000)
            if s is datagrams or (origin[2] != 4 and b"hello" in data): log.write(data[:60].hex().encode() + b"\\n")
while not os.path.exists("/tmp/heard"): time.sleep(0.05)`);
  });
  after(() => resources.disposeAsync());

  // Known before the addresses of this host are.
  const names = attempts({ host: [], port: 0, victimPort: 0, secret: "/" }).map(({ name }) => name);
  for (const name of names) {
    test(name, async () => {
      const attempt = all.find((one) => one.name === name);
      assert.ok(attempt);
      const lines = (await attacker.python(attempt.script)).split("\n");
      for (const line of lines) assert.match(line, attempt.refused);
    });
  }

  test("do any of this with an effect on others", async () => {
    assert.equal(reached, 0, "the host was reached");
    assert.equal(await victim.run(["cat", "/tmp/heard"]), "", "another sandbox heard of it");
    assert.equal(
      await victim.python(`
import os
os.system("ping -c1 -W5 10.0.2.2 >/dev/null 2>&1")
print(open("/proc/net/arp").read().count("02:4b:69:6c:6e:02"))`),
      "0",
      "another sandbox takes it for the gateway",
    );
  });

  test("end or outgrow its VMM, nor lose its own agent", async () => {
    for (const guest of [attacker, victim]) {
      assert.equal(await guest.run(["echo", "here"]), "here");
      assert.ok(isAlive(guest.vm.processId));
    }
    const folder = dirname(attacker.vm.networkSocket);
    const entries = await readdir(folder, { withFileTypes: true });
    const sizes = await Promise.all(
      entries
        .filter((entry) => entry.isFile())
        .map(async ({ name }) => (await stat(join(folder, name))).size),
    );
    assert.ok(sizes.reduce((sum, size) => sum + size, 0) < MAX_FOLDER_BYTES, `${sizes}`);
  });
});
