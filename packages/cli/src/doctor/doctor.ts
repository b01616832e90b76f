import { ERROR_TABLE } from "@kiln/host/errors.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { printJson } from "../output/table.ts";
import { checkAccelerator } from "./accelerator.ts";
import { checkCgroups } from "./cgroups.ts";
import { checkEngine } from "./engine.ts";
import { checkFirecracker } from "./firecracker.ts";
import { type Check, checkCommands, checkDisk, checkMachine, checkNode, checkUserIds } from "./host.ts";
import { checkPodman } from "./podman.ts";

const MARKS = { ok: "✔", note: "•", fail: "✖" } as const;

/** Looks at everything and prints it; returns the exit code. */
export async function doctor(json: boolean): Promise<number> {
  const home = KilnHome.fromEnvironment();
  const checks: Check[] = [
    checkMachine(),
    checkNode(),
    ...checkCommands(),
    ...(await checkUserIds()),
    await checkDisk(home.root),
    await checkPodman(home),
    await checkAccelerator(home),
    await checkFirecracker(home),
    await checkEngine(home),
    await checkCgroups(),
  ];
  const healthy = checks.every(({ status }) => status !== "fail");
  if (json) printJson({ healthy, home: home.root, checks });
  else {
    for (const { name, status, detail, hint } of checks) {
      process.stdout.write(`${MARKS[status]} ${name}: ${detail}\n`);
      if (hint !== undefined) process.stdout.write(`    ${hint}\n`);
    }
  }
  return healthy ? 0 : ERROR_TABLE.HOST_UNSUPPORTED.exitCode;
}
