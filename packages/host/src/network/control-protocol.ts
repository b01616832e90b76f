import { z } from "zod";
import type { ServerKind } from "../os/server/server-kind.ts";
import { NetworkPolicy } from "./policy/schema.ts";

/** What is said over a network server's control socket: see `ControlClient`. */
export const NETWORK_SERVER: ServerKind = {
  name: "network server",
  greeting: "network",
  version: 1,
  code: "NETWORK_FAILED",
  // A name that is slow to look up holds one.
  threads: 32,
};

/** The control socket in a server's directory. */
export const CONTROL_SOCKET = "control.sock";

const NetworkId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    "must be 1 to 128 letters, digits, dots, dashes or underscores",
  );

export const NetworkOptions = z.strictObject({
  /** Name of the sandbox. */
  id: NetworkId,
  /** Where the sandbox's VM listens for whoever serves its link. */
  socketPath: z.string().min(1).max(107).startsWith("/", "must be an absolute path"),
  policy: NetworkPolicy,
});
export type NetworkOptions = z.output<typeof NetworkOptions>;

const seq = z.int().nonnegative();
export const ControlRequest = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("add"), seq, network: NetworkOptions }),
  z.strictObject({ op: z.literal("remove"), seq, id: NetworkId }),
  z.strictObject({ op: z.literal("stats"), seq, id: NetworkId }),
  z.strictObject({ op: z.literal("list"), seq }),
  z.strictObject({ op: z.literal("stop"), seq }),
]);
export type ControlRequest = z.output<typeof ControlRequest>;

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type ControlBody = WithoutSeq<ControlRequest>;

export const ListResult = z.object({ networks: z.array(NetworkOptions) });

const count = z.number().nonnegative();

/** What a sandbox has done with its network since its server runs. */
export const NetworkStats = z.object({
  /** Whether the VM is there. */
  linked: z.boolean(),
  /** Bytes of Ethernet frames from the guest, and to it. */
  sent_bytes: count,
  received_bytes: count,
  /** Connections, and flows of datagrams, there are just now. */
  connections: count,
  flows: count,
  /** Connections that came about; that did not, because the other side refused or there were too many. */
  opened: count,
  failed: count,
  /** What the policy refused, and the last of it. */
  refused: count,
  refusals: z.array(
    z.object({
      at: z.iso.datetime(),
      /** `ADDRESS:PORT`, `ADDRESS:PORT/udp`, or a name. */
      target: z.string(),
      why: z.string(),
    }),
  ),
  /** Questions for names. */
  questions: count,
});
export type NetworkStats = z.output<typeof NetworkStats>;
export type GuestStats = Omit<NetworkStats, "linked">;
export type Refusal = NetworkStats["refusals"][number];
