import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Isolation } from "./isolation.ts";
import { lockUp, prepareJail } from "./jail.ts";
import { Launcher } from "./launcher.ts";

/** What can be seen from inside: the programs that start a VMM, and QEMU itself. */
const PROGRAMS = "/usr/";
const PATIENCE_MS = 10_000;

/**
 * Finds out how much of it works on this host, by doing it once with a program that does nothing. As root that is a user of its own and a
 * view of its own; other users get a view of their own where the kernel lets them make namespaces.
 */
export async function probeIsolation(qemu: string): Promise<Isolation> {
  const none = { ownUser: false, ownView: false };
  if (!(await realpath(qemu)).startsWith(PROGRAMS)) {
    return { ...none, reason: `${qemu} is not below ${PROGRAMS}` };
  }
  const root = process.geteuid?.() === 0;
  const attempts = [...(root ? [{ ownUser: true, ownView: true }] : []), { ownUser: false, ownView: true }];
  let reason = "";
  for (const attempt of attempts) {
    const failure = await tryJail(attempt);
    if (failure === undefined) return { ...attempt, ...(reason === "" ? explain(root) : { reason }) };
    reason ||= failure;
  }
  return { ...none, reason };
}

const explain = (root: boolean) =>
  root
    ? {}
    : { reason: "only root can give each VM a user of its own: they run as the user that starts them" };

async function tryJail(isolation: Isolation): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "kiln-jail-"));
  try {
    const jail = await prepareJail(directory, isolation, []);
    const launcher = await Launcher.start({ ownView: isolation.ownView });
    try {
      launcher.become(lockUp(jail, { memoryMib: 0 }), ["/usr/bin/true", []], true);
      const outOfPatience = delay(PATIENCE_MS, undefined, { ref: false });
      const end = await Promise.race([launcher.process.ended, outOfPatience]);
      if (end === undefined) return `nothing happens for ${PATIENCE_MS / 1_000} s`;
      return end.code === 0 ? undefined : launcher.process.lastWords || `exit code ${end.code}`;
    } finally {
      launcher.process.kill();
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
