import { readStrategy } from "@kiln/host/build/build-strategy.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { findCommand } from "@kiln/host/os/find-command.ts";
import type { Check } from "./host.ts";

/** What builds found out about Podman here. */
export async function checkPodman(home: KilnHome): Promise<Check> {
  const name = "podman build";
  if (findCommand("podman") === undefined) return { name, status: "note", detail: "unknown without Podman" };
  const record = await readStrategy(home);
  if (!record) {
    return {
      name,
      status: "note",
      detail: "not tried yet: it is with the first template",
      hint: "kiln template build python",
    };
  }
  const refused = record.refused.map(({ strategy, reason }) => `${strategy} does not work here: ${reason}`);
  const detail = [`Podman ${record.podman}, isolation "${record.strategy}"`, ...refused].join("; ");
  return { name, status: "ok", detail };
}
