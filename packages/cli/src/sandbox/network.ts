import { KilnError } from "@kiln/sdk/errors.ts";
import type { Network } from "@kiln/sdk/types.ts";

export interface NetworkFlags {
  network?: string;
  allow?: string[];
}

/** What `--network` and `--allow` say together; undefined for the daemon's default. */
export function networkOf({ network, allow }: NetworkFlags): Network | undefined {
  if (allow !== undefined) {
    if (network === undefined) return { allow };
    throw new KilnError("USAGE", "--network and --allow exclude each other", {
      hint: "--allow alone allows nothing else",
    });
  }
  if (network === undefined || network === "none" || network === "full") return network;
  throw new KilnError("USAGE", `--network is none or full, not "${network}"`, {
    hint: "--allow example.com lets the sandbox reach that alone",
  });
}
