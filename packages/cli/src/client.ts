import { fileURLToPath } from "node:url";
import { KilnClient } from "@kiln/sdk/client.ts";

/** The daemon's client. Where this machine's daemon does not run it is started, by this very program. */
export function openClient({ autostart = true } = {}): KilnClient {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  return new KilnClient({
    autostart,
    command: [process.execPath, "--disable-warning=ExperimentalWarning", main],
  });
}
