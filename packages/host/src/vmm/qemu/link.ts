import { connectWhenListening } from "../connect.ts";
import type { QmpClient } from "./qmp.ts";

/** What the monitor says of a link somebody is connected to. */
const CONNECTED = /network: index=0,type=stream,unix:/;

/**
 * Resolves when the guest's link can take frames. QEMU (7.2 to 10.0 at least) makes the link's socket in the background and, until it is
 * through with that, sends frames to a connection that does not exist: a guest that runs on with frames on their way then takes QEMU
 * with it. A connection that QEMU has taken proves that it is through.
 */
export async function awaitLink(qmp: QmpClient, networkSocket: string, until: AbortSignal): Promise<void> {
  const socket = await connectWhenListening(networkSocket, until);
  try {
    while (true) {
      until.throwIfAborted();
      const text = await qmp.execute("human-monitor-command", { "command-line": "info network" });
      if (CONNECTED.test(String(text))) return;
    }
  } finally {
    socket.destroy();
  }
}
