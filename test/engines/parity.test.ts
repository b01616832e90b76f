/**
 * What every engine has to do alike: each test is a line of the table in docs/engines.md. CI runs it with the engine that the host has. For
 * the table, with each engine, on a host that has nothing else to do:
 *
 *     KILN_TEST_ENGINE=firecracker KILN_ENGINE_RESULTS=test/engines/results/firecracker-kvm.json node --test test/engines/parity.test.ts
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "@kiln/host/errors.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { NetworkService } from "@kiln/host/network/network-service.ts";
import { isAlive } from "@kiln/host/os/process-id.ts";
import { readFirecrackerProbe } from "@kiln/host/vmm/firecracker/probe.ts";
import { findCgroups } from "@kiln/host/vmm/jail/cgroup-host.ts";
import { listCgroups } from "@kiln/host/vmm/jail/cgroups.ts";
import type { Isolation } from "@kiln/host/vmm/jail/isolation.ts";
import { readProbe } from "@kiln/host/vmm/qemu/probe.ts";
import { processorMs } from "../../bench/measure/processor-time.ts";
import { HOST_SIDE, INTERNAL, missing, WORLD, World } from "../network/support/world-namespace.ts";
import { openTestHome } from "../support/home.ts";
import { changes, hostState } from "../support/host-state.ts";
import { TestMachines } from "../vm/support/machine.ts";
import { EngineVm, type Origin } from "./support/engine-vm.ts";
import { Findings } from "./support/findings.ts";

/** How long what is going may take to be gone, in milliseconds. */
const GOING_MS = 60_000;
/** Ports of the world's servers: what is sent comes back at one of them. */
const [ECHO, SLOW] = [7, 9];
/** How long a guest waits for a connection, in seconds. */
const CONNECT_S = 30;

const findings = new Findings();

describe("a VM", { timeout: 3_600_000 }, () => {
  const kept = new AsyncDisposableStack();
  const resources = new AsyncDisposableStack();
  let home: KilnHome;
  /** What the host has of Kiln before anything was started. */
  let nothing: string[];
  let machines: TestMachines;
  let networks: NetworkService;
  let isolation: Isolation;
  let guest: string;
  /** Why there is no world outside. */
  let noWorld: string | undefined;
  /** Of this host, at all of its addresses. */
  let port: number;
  /** Two of one snapshot: one that reaches everything outside, one that nobody is connected to. */
  let one: EngineVm;
  let other: EngineVm;

  before(async () => {
    home = kept.use(await openTestHome());
    nothing = await hostState(home.root);
    machines = resources.use(await TestMachines.open(home));
    networks = resources.use(new NetworkService(join(machines.directory, "net")));
    const probe =
      machines.bootable.vmm.engine === "qemu"
        ? readProbe(home.probe("qemu"))
        : await readFirecrackerProbe(home.probe);
    assert.ok(probe);
    isolation = probe.isolation;
    const { vcpu, memoryMib } = machines.bootable.snapshot.manifest.subject;
    guest = `${vcpu} vCPU, ${memoryMib} MiB`;
    noWorld = await missing();
    if (noWorld === undefined) resources.use(await World.open());
    const listener = createServer((socket) => socket.destroy());
    resources.defer(() => void listener.close());
    await once(listener.listen(0, "0.0.0.0"), "listening");
    const address = listener.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
    one = resources.use(await EngineVm.start(machines, { network: { networks, policy: "full" } }));
    other = resources.use(await EngineVm.start(machines));
  });
  after(async () => {
    await resources.disposeAsync();
    await kept.disposeAsync();
  });

  const can: Findings["can"] = (area, name, look) => findings.can(area, name, look);

  can("start", "boots a kernel with an agent, and goes on from a snapshot of that", async () => {
    const files = await machines.newFiles();
    let origin: Origin;
    {
      await using booted = await EngineVm.boot(machines, files);
      await booted.shell("echo memory >/dev/shm/mark; echo disk >/root/mark; sync");
      origin = await booted.snapshot(files);
    }
    await using resumed = await EngineVm.start(machines, { origin });
    assert.equal(await resumed.shell("echo $(cat /dev/shm/mark /root/mark)"), "memory disk");
    return undefined;
  });

  can("start", "has the processors and the memory that were asked for", async () => {
    const { vcpu, memoryMib } = one.config;
    const said = await one.shell("nproc; awk '/^MemTotal/ {print $2}' /proc/meminfo");
    const [processors, kib = 0] = said.split("\n").map(Number);
    assert.equal(processors, vcpu);
    // The kernel keeps some to itself.
    assert.ok(kib / 1024 > 0.6 * memoryMib && kib / 1024 <= memoryMib, `${kib} KiB`);
    return undefined;
  });

  can(
    "programs",
    "gives a program's output, errors and exit code apart, and the signal that ended it",
    async () => {
      const { agent } = one;
      const ended = await agent.run({ argv: ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"] });
      assert.deepEqual([ended.stdout, ended.stderr, ended.exitCode], ["out\n", "err\n", 7]);
      assert.equal((await agent.run({ argv: ["/bin/sh", "-c", "kill -TERM $$"] })).signal, "SIGTERM");
      return undefined;
    },
  );

  can("programs", "ends a program that is cancelled", async () => {
    const abort = new AbortController();
    const running = one.agent.run({ argv: ["/bin/sh", "-c", "sleep 1000"] }, { signal: abort.signal });
    await delay(200);
    abort.abort();
    await assert.rejects(running, (error) => error instanceof KilnError && error.code === "CANCELLED");
    assert.equal(await one.shell("cat /proc/[0-9]*/comm | grep -cx sleep || true"), "0");
    return undefined;
  });

  can("programs", "takes and gives a file of a megabyte unchanged", async () => {
    const content = randomBytes(1_000_003);
    await one.agent.files.write("/dev/shm/file", content);
    const chunks = [];
    for await (const chunk of one.agent.files.read("/dev/shm/file")) chunks.push(chunk);
    assert.deepEqual(Buffer.concat(chunks), content);
    return undefined;
  });

  can("identity", "has a name, a machine id and random bytes that no other of its snapshot has", async () => {
    for (const script of ["hostname", "cat /etc/machine-id", "head -c 16 /dev/urandom | od -An -tx1"]) {
      const [mine, theirs] = [await one.shell(script), await other.shell(script)];
      assert.notEqual(mine, "");
      assert.notEqual(mine, theirs, script);
    }
    return undefined;
  });

  can("identity", "has the host's time", async (context) => {
    const from = Date.now();
    const there = Number(await one.shell("date +%s%3N"));
    context.diagnostic(
      `between ${there - Date.now()} and ${there - from} ms; greeted in ${one.greetingMs} ms`,
    );
    // It is told the time in a greeting.
    assert.ok(there > from - one.greetingMs - 1_000 && there < Date.now() + 1_000, `${there - from} ms off`);
    return undefined;
  });

  can("disk", "has a disk of its own, and reads from there what it wrote", async () => {
    for (const vm of [one, other]) await vm.shell(`echo ${vm.id} >/root/mine; sync`);
    for (const vm of [one, other]) {
      assert.equal(await vm.shell("echo 3 >/proc/sys/vm/drop_caches; cat /root/mine"), vm.id);
    }
    return undefined;
  });

  can("disk", "tells the disk's server what it deletes", async () => {
    if ((await other.shell("cat /sys/block/vda/queue/discard_max_bytes")) === "0")
      return { no: "its disk takes no discards: what was deleted takes room until it is overwritten" };
    await other.shell("head -c 4000000 /dev/urandom >/root/big; sync");
    const { dataBlocks: full } = await other.disk.stats();
    await other.shell("rm /root/big; sync; fstrim /");
    const { dataBlocks: freed } = await other.disk.stats();
    assert.ok(freed < full - 700, `${full} blocks before, ${freed} after`);
    return undefined;
  });

  can("disk", "goes on when the disk's server is killed, and whoever connects it to that", async () => {
    for (const pid of await slotHelpers()) process.kill(pid, "SIGKILL");
    process.kill(await machines.disks.pid(), "SIGKILL");
    const script = "echo after >/root/after; sync; echo 3 >/proc/sys/vm/drop_caches; cat /root/after";
    assert.equal(await one.shell(script), "after");
    return undefined;
  });

  can("pause", "stands still while it is paused, and goes on, however busy", async () => {
    const worked = async () => {
      const from = processorMs(one.vm.pid);
      await delay(500);
      return processorMs(one.vm.pid) - from;
    };
    await one.shell("while :; do :; done >/dev/null 2>&1 & echo $! >/dev/shm/busy");
    let paused = 0;
    await one.fork(async () => {
      paused = await worked();
    });
    const running = await worked();
    await one.shell("kill $(cat /dev/shm/busy)");
    assert.ok(paused < running / 5, `${paused} ms of work while it was paused, ${running} ms afterwards`);
    return undefined;
  });

  can("pause", "is saved to files and goes on from there, again and again", async () => {
    let vm = await EngineVm.start(machines);
    await vm.shell("head -c 2000000 /dev/urandom >/dev/shm/noise; sha256sum /dev/shm/noise >/dev/shm/sum");
    for (const round of [1, 2]) {
      await vm.shell(`echo ${round} >>/root/rounds; sync`);
      const origin = await vm.pause();
      await vm[Symbol.asyncDispose]();
      vm = await EngineVm.start(machines, { origin, newIdentity: false });
      await vm.shell("sha256sum -c /dev/shm/sum");
    }
    assert.equal(await vm.shell("echo $(cat /root/rounds)"), "1 2");
    await vm[Symbol.asyncDispose]();
    return undefined;
  });

  can(
    "pause",
    "is copied while it goes on, memory and disk, and neither sees what becomes of the other",
    async () => {
      await one.shell("echo both >/dev/shm/note; echo both >/root/note; sync");
      const origin = await one.fork();
      await one.shell("echo one >>/dev/shm/note; echo one >>/root/note; sync");
      await using copy = await EngineVm.start(machines, { origin });
      await copy.shell("echo copy >>/dev/shm/note; echo copy >>/root/note; sync");
      const read = "echo $(cat /dev/shm/note /root/note)";
      assert.equal(await copy.shell(read), "both copy both copy");
      assert.equal(await one.shell(read), "both one both one");
      assert.notEqual(await copy.shell("cat /etc/machine-id"), await one.shell("cat /etc/machine-id"));
      return undefined;
    },
  );

  can("network", "full: reaches a server outside, both ways", async () => {
    if (noWorld !== undefined) return { leftOut: noWorld };
    const script = `head -c 300000 /dev/urandom >/dev/shm/sent
      exec 3<>/dev/tcp/${WORLD}/${ECHO}; cat /dev/shm/sent >&3 & head -c 300000 <&3 | cmp - /dev/shm/sent && echo same`;
    assert.equal(await bash(one, script), "same");
    return undefined;
  });

  can("network", "full: reaches nothing of the host, and no address that is not public", async () => {
    if (noWorld !== undefined) return { leftOut: noWorld };
    assert.equal(await connects(one, "10.0.2.2", port), "no");
    assert.equal(await connects(one, HOST_SIDE, port), "no");
    assert.equal(await connects(one, INTERNAL, ECHO), "no");
    return undefined;
  });

  can("network", "full: reaches it again when the network's server was killed", async () => {
    if (noWorld !== undefined) return { leftOut: noWorld };
    process.kill(await networks.pid(), "SIGKILL");
    const again = `for i in $(seq 100); do ${connecting(WORLD, ECHO)} && break; sleep 0.1; done`;
    assert.equal(await bash(one, `${again}; echo reached`), "reached");
    return undefined;
  });

  can("network", "an allow-list: reaches what is named, and nothing else", async () => {
    if (noWorld !== undefined) return { leftOut: noWorld };
    await using named = await EngineVm.start(machines, {
      network: { networks, policy: { allow: [`${WORLD}:${ECHO}`] } },
    });
    assert.equal(await connects(named, WORLD, ECHO), "yes");
    assert.equal(await connects(named, WORLD, SLOW), "no");
    assert.equal(await connects(named, "10.0.2.2", port), "no");
    return undefined;
  });

  can("network", "none: reaches nothing", async () => {
    assert.equal(await connects(other, "10.0.2.2", port), "no");
    assert.equal(await connects(other, WORLD, ECHO), "no");
    return undefined;
  });

  can("isolation", "has a VMM without rights, with a system call filter", async () => {
    const status = await readFile(`/proc/${one.vm.pid}/status`, "utf8");
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
    if (!isolation.ownView) return { leftOut: isolation.reason ?? "" };
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"])
      assert.match(status, new RegExp(`^${set}:\\s+0{16}$`, "m"));
    return undefined;
  });

  can("isolation", "has a VMM that is a user of its own", async () => {
    if (!isolation.ownUser) return { leftOut: isolation.reason ?? "" };
    const [mine = 0, theirs] = await Promise.all(
      [one, other].map(async ({ vm }) => (await stat(`/proc/${vm.pid}`)).uid),
    );
    assert.ok(mine >= 0x7000_0000, String(mine));
    assert.notEqual(mine, theirs);
    return undefined;
  });

  can("isolation", "has a VMM that sees no files but the VM's, and no network but its link", async () => {
    if (!isolation.ownView) return { leftOut: isolation.reason ?? "" };
    const { pid } = one.vm;
    const seen = await readdir(`/proc/${pid}/root`);
    assert.ok(seen.includes("vm"), "the test does not see what the VMM sees");
    for (const name of ["home", "proc", "root", "run", "sys", "tmp", "var"])
      assert.ok(!seen.includes(name), name);
    const links = (await readFile(`/proc/${pid}/net/dev`, "utf8")).match(/^\s*\S+(?=:)/gm) ?? [];
    for (const link of links) assert.match(link.trim(), /^(lo|tap0)$/);
    return undefined;
  });

  can("isolation", "has a control group with limits of its own", async () => {
    const where = await findCgroups();
    if (typeof where === "string") return { leftOut: where };
    const groups = (await listCgroups()).filter(({ directory }) => directory === one.config.directory);
    assert.ok(groups.length > 0);
    for (const { group } of groups)
      assert.match(await readFile(join(group, "cgroup.procs"), "utf8"), new RegExp(`^${one.vm.pid}$`, "m"));
    return undefined;
  });

  can("life", "is let go of by its owner, runs on, and is taken up by another", async () => {
    await other.shell("echo kept >/dev/shm/kept");
    const { processId } = other.vm;
    await other.changeOwner();
    assert.equal(other.vm.processId, processId);
    assert.equal(await other.shell("cat /dev/shm/kept"), "kept");
    return undefined;
  });

  can("life", "that is killed is known to be gone", async () => {
    const { vm } = other;
    process.kill(vm.pid, "SIGKILL");
    assert.equal((await vm.exited).expected, false);
    assert.equal(isAlive(vm.processId), false);
    return undefined;
  });

  can(
    "life",
    "leaves nothing behind: no process, device, namespace, control group, mount or file",
    async () => {
      await resources.disposeAsync();
      // What was left by a Kiln that was killed may have gone meanwhile.
      const changed = await changes(home.root, nothing, GOING_MS);
      assert.deepEqual(
        changed.filter((line) => line.startsWith("+")),
        [],
      );
      return undefined;
    },
  );

  test("is what docs/engines.md says", () => findings.conclude(machines.bootable.vmm, guest));
});

/** Shell that ends well when it has a connection. */
const connecting = (address: string, port: number) =>
  `timeout ${CONNECT_S} bash -c 'exec 3<>/dev/tcp/${address}/${port}' 2>/dev/null`;

const connects = (vm: EngineVm, address: string, port: number): Promise<string> =>
  vm.shell(`if ${connecting(address, port)}; then echo yes; else echo no; fi`);

async function bash(vm: EngineVm, script: string): Promise<string> {
  const { stdout, stderr } = await vm.agent.run({ argv: ["bash", "-c", script] });
  assert.equal(stderr, "");
  return stdout.trim();
}

/** Processes that connect NBD devices for this one. */
async function slotHelpers(): Promise<number[]> {
  const children = await readFile(`/proc/${process.pid}/task/${process.pid}/children`, "utf8");
  const pids = children.split(" ").filter(Boolean).map(Number);
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return pids.filter((_, index) => commands[index]?.includes("nbd/slots.pl"));
}
