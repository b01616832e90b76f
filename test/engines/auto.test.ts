import assert from "node:assert/strict";
import { access, constants } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { findKernel } from "@kiln/host/build/kernel.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { findCommand } from "@kiln/host/os/find-command.ts";
import { chosenEngine } from "@kiln/host/sandbox/engine.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { whyQemu } from "@kiln/host/vmm/engines.ts";
import type { Vmm } from "@kiln/host/vmm/vmm.ts";
import { checkEngine } from "../../packages/cli/src/doctor/engine.ts";
import { openTestHome } from "../support/home.ts";

/** What has to be chosen here, as whoever runs the test knows: `firecracker kvm`, `qemu kvm` or `qemu tcg`. */
const EXPECTED = process.env.KILN_TEST_CHOICE;
const TEMPLATE = process.env.KILN_TEST_TEMPLATE ?? "python";

describe("the engine of a sandbox that asks for none", { timeout: 900_000 }, () => {
  const resources = new AsyncDisposableStack();
  let home: KilnHome;
  let vmm: Vmm;

  before(async () => {
    home = resources.use(await openTestHome());
    await using host = await SandboxHost.open(home);
    ({ vmm } = await host.prepare(TEMPLATE));
  });
  after(() => resources.disposeAsync());

  test("is the best that works", async (context) => {
    const choice = `${vmm.engine} ${vmm.identity.accelerator}`;
    context.diagnostic(`chosen: ${choice}`);
    if (EXPECTED !== undefined) assert.equal(choice, EXPECTED);
    const opensKvm = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
      () => true,
      () => false,
    );
    if (!opensKvm) assert.equal(choice, "qemu tcg");
    if (findCommand("firecracker") === undefined) assert.equal(vmm.engine, "qemu");
  });

  test("is known afterwards without trying", async () => {
    assert.deepEqual((await chosenEngine(home))?.identity, vmm.identity);
  });

  test("is told by kiln doctor, with the reason and what to do", async () => {
    const { detail, hint } = await checkEngine(home);
    const names = { "firecracker kvm": /Firecracker/, "qemu kvm": /QEMU with KVM/, "qemu tcg": /emulation/ };
    const choice = `${vmm.engine} ${vmm.identity.accelerator}`;
    assert.match(detail, names[choice as keyof typeof names]);
    if (vmm.engine === "firecracker") return;
    assert.notEqual(hint, undefined);
    const kernel = await findKernel(home);
    assert.ok(kernel);
    assert.ok(await whyQemu({ probeFile: home.probe, kernel }), "there is no reason against Firecracker");
  });
});
