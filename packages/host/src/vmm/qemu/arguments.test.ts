import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmConfig } from "../vmm.ts";
import { type Accelerator, argumentsIdentity, qemuArguments } from "./arguments.ts";

const TCG: Accelerator = { kind: "tcg", tscKhz: 2_300_000 };
const CONFIG: VmConfig = {
  directory: "/run/vm",
  vcpu: 2,
  memoryMib: 512,
  kernel: { vmlinuz: "/k/vmlinuz", initrd: "/k/initrd" },
  disk: { socketPath: "/run/a,b/nbd.sock", exportName: "disk" },
};
const PATHS = {
  qmpSocket: "/run/vm/qmp",
  agentSocket: "/run/vm/agent",
  networkSocket: "/run/vm/net",
  consoleLog: undefined,
};

const build = (shared: boolean, accelerator: Accelerator = TCG) =>
  qemuArguments(CONFIG, accelerator, { file: "/m", shared }, PATHS);

test("an emulated guest is told the rate of its counter, a KVM guest is not", () => {
  assert.match(build(true).join(" "), /tsc_early_khz=2300000/);
  assert.doesNotMatch(build(true, { kind: "kvm" }).join(" "), /tsc/);
});

test("a larger guest has room for more translated code, within limits", () => {
  const room = (memoryMib: number) =>
    qemuArguments({ ...CONFIG, memoryMib }, TCG, { file: "/m", shared: false }, PATHS).join(" ");
  assert.match(room(512), /tb-size=128 /);
  assert.match(room(2_047), /tb-size=255 /);
  assert.match(room(65_536), /tb-size=512 /);
});

test("a comma in a path cannot become an option", () => {
  assert.ok(build(false).some((argument) => argument.includes("server.path=/run/a,,b/nbd.sock,")));
});

test("memory is shared with its file for a snapshot, and private for a sandbox", () => {
  assert.match(build(true).join(" "), /mem-path=\/m,share=on/);
  assert.match(build(false).join(" "), /mem-path=\/m,share=off/);
});

test("programs cannot be started from inside QEMU, and the one network is a socket of its own", () => {
  const line = build(false).join(" ");
  assert.match(line, /-sandbox on,[^ ]*spawn=deny/);
  assert.match(line, /-nodefaults/);
  assert.deepEqual(line.match(/-(net\w*|nic) \S+/g), [
    "-netdev stream,id=network,server=on,addr.type=unix,addr.path=/run/vm/net",
  ]);
});

test("the identity tells accelerators apart, and not measurements of one host", () => {
  assert.notEqual(argumentsIdentity(TCG), argumentsIdentity({ kind: "kvm" }));
  assert.equal(argumentsIdentity(TCG), argumentsIdentity({ kind: "tcg", tscKhz: 2_299_999 }));
});
