import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KilnHome } from "../../../packages/host/src/home.ts";
import { FetchClient } from "../../../packages/host/src/lazy/fetch-client.ts";
import { CONTROL_SOCKET, FETCHER, fetcherDirectory } from "../../../packages/host/src/lazy/fetch-protocol.ts";
import { MemoryClient } from "../../../packages/host/src/lazy/memory/memory-client.ts";
import { ControlClient } from "../../../packages/host/src/os/server/control-client.ts";
import type { StoreLocation } from "../../../packages/host/src/store/client/location.ts";
import { StoreConfig } from "../../../packages/host/src/store/config.ts";

/** A KILN_HOME of its own that uses a store; its fetcher ends with it. */
export interface TestNode extends AsyncDisposable {
  home: KilnHome;
  config: StoreConfig;
}

export async function openNode(
  location: StoreLocation,
  options: Partial<StoreConfig> = {},
): Promise<TestNode> {
  const root = await mkdtemp("/tmp/kn-"); // Short: sockets are in there.
  const home = new KilnHome(root);
  const config = StoreConfig.parse({ ...location, patience_s: 20, ...options });
  await mkdir(root, { recursive: true });
  await writeFile(join(root, "config.json"), JSON.stringify({ store: config }));
  return {
    home,
    config,
    [Symbol.asyncDispose]: async () => {
      using client = new FetchClient(root);
      using memory = new MemoryClient(root);
      await memory.stop();
      await client.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Process id of the fetcher that runs in a KILN_HOME. */
export async function fetcherPid(root: string): Promise<number> {
  const socket = join(fetcherDirectory(root), CONTROL_SOCKET);
  const { client, pid } = await ControlClient.connect(FETCHER, socket);
  client[Symbol.dispose]();
  return pid;
}
