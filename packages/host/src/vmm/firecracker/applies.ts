import { KilnError } from "../../errors.ts";
import { findCommand } from "../../os/find-command.ts";
import { checkNbdModule } from "./nbd/module.ts";

export const BINARY = "firecracker";
export const HOW_TO_INSTALL =
  "https://github.com/firecracker-microvm/firecracker/releases has it: put `firecracker` into /usr/local/bin";

/**
 * Why Firecracker need not even be tried on this host, found out in a moment; undefined where it is worth a try. What is cheapest to see, and
 * most often missing, is looked at first: this is asked on the way of every create.
 */
export function whyNotFirecracker(): KilnError | undefined {
  if (process.geteuid?.() !== 0) {
    return new KilnError("HOST_UNSUPPORTED", "Firecracker is for root, and Kiln runs as another user", {
      hint: "run Kiln as root",
    });
  }
  try {
    checkNbdModule();
  } catch (error) {
    if (error instanceof KilnError) return error;
    throw error;
  }
  if (findCommand(BINARY) !== undefined) return undefined;
  return new KilnError("HOST_UNSUPPORTED", "Firecracker is not installed", { hint: HOW_TO_INSTALL });
}
