import type { Bootable } from "@kiln/host/sandbox/sandbox.ts";
import type { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { EngineName } from "@kiln/host/vmm/engines.ts";

/** The engine under test; the host's own without it. */
const ENGINE = EngineName.optional().parse(process.env.KILN_TEST_ENGINE);
/** Name of a template, or path of a spec, with Python in it. */
const TEMPLATE = process.env.KILN_TEST_TEMPLATE ?? "python";

/** Makes what VMs of the template start from with the engine under test. */
export function prepareUnderTest(host: SandboxHost): Promise<Bootable> {
  return host.prepare(TEMPLATE, ENGINE === undefined ? {} : { engine: ENGINE });
}
