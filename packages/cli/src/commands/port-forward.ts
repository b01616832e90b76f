import { once } from "node:events";
import { KilnError } from "@kiln/sdk/errors.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { Signals } from "../signals.ts";

const PORTS = /^(?:(\d{1,5}):)?(\d{1,5})$/;

function parsePorts(text: string): { localPort: number; remotePort: number } {
  const [, local, remote] = PORTS.exec(text) ?? [];
  const remotePort = Number(remote);
  const localPort = local === undefined ? remotePort : Number(local);
  if (!(remotePort >= 1 && remotePort <= 65_535 && localPort <= 65_535)) {
    throw new KilnError("USAGE", `"${text}" is not [LOCAL:]REMOTE`, {
      hint: "such as 8000 or 8080:80; 0:80 takes a free port",
    });
  }
  return { localPort, remotePort };
}

export function addPortForward(program: Command): void {
  program
    .command("port-forward")
    .summary("reach a sandbox's ports from this machine")
    .description("Make TCP ports of a sandbox ports of this machine, until Ctrl-C.")
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .argument("<[local:]remote...>", "ports, such as 8000 or 8080:80; 0:80 takes a free one here")
    .option("--address <address>", "address of this machine to listen on", "127.0.0.1")
    .addHelpText("after", "\nExamples:\n  kiln port-forward a1b2 8000\n  kiln port-forward a1b2 8080:80 5432")
    .action(async (id: string, texts: string[], { address }: { address: string }) => {
      const ports = texts.map(parsePorts);
      const { cancelled } = new Signals();
      const sandbox = await openClient().get(id, { signal: cancelled });
      await using forwards = new AsyncDisposableStack();
      for (const { localPort, remotePort } of ports) {
        const onError = (error: unknown) =>
          process.stderr.write(
            `kiln: port ${remotePort}: ${error instanceof Error ? error.message : error}\n`,
          );
        const forward = forwards.use(
          await sandbox.forward(remotePort, { localPort, host: address, onError }),
        );
        process.stdout.write(`${forward.host}:${forward.port} -> ${remotePort}\n`);
      }
      if (!cancelled.aborted) await once(cancelled, "abort");
    });
}
