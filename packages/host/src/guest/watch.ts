import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { delimited } from "./delimited.ts";
import { WatchEvent as WireWatchEvent, WatchKind as WireWatchKind } from "./gen/kiln/agent/v1/agent.ts";
import { unwrapReply } from "./reply.ts";

/** What happened: `modified` is content or attributes; after an `overflow` events are missing. */
export type WatchEvent =
  | { type: "ready" | "overflow" }
  | { type: "created" | "modified" | "removed"; path: string }
  | { type: "renamed"; path: string; to: string };

export interface WatchOptions {
  /** Whether directories below are watched as well, new ones included. @default false */
  recursive?: boolean;
  /** Ends the watching when it fires; the loop then ends without an error. */
  signal?: AbortSignal;
}

/** Two paths and their keys. */
const MAX_EVENT_BYTES = 16_384;

const TYPES = new Map<WireWatchKind, WatchEvent["type"]>([
  [WireWatchKind.WATCH_KIND_READY, "ready"],
  [WireWatchKind.WATCH_KIND_CREATED, "created"],
  [WireWatchKind.WATCH_KIND_MODIFIED, "modified"],
  [WireWatchKind.WATCH_KIND_REMOVED, "removed"],
  [WireWatchKind.WATCH_KIND_RENAMED, "renamed"],
  [WireWatchKind.WATCH_KIND_OVERFLOW, "overflow"],
]);

function toWatchEvent(wire: WireWatchEvent): WatchEvent {
  const type = TYPES.get(wire.kind);
  if (type === undefined) throw new KilnError("GUEST_PROTOCOL", `the guest told of event ${wire.kind}`);
  const path = wire.path.toString();
  if (type === "ready" || type === "overflow") return { type };
  if (type === "renamed") return { type, path, to: wire.to.toString() };
  return { type, path };
}

/** Watches `path`, which is encoded already. */
export async function* watch(
  connection: GuestConnection,
  path: Buffer,
  { recursive = false, signal }: WatchOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  if (signal?.aborted) return;
  const stream = connection.open({ kind: { $case: "watch", value: { path, recursive } } });
  const cancel = () => void stream.cancel().catch(() => undefined);
  signal?.addEventListener("abort", cancel);
  try {
    for await (const message of delimited(stream.output, MAX_EVENT_BYTES)) {
      if (signal?.aborted) return;
      yield toWatchEvent(WireWatchEvent.decode(message));
    }
    const reply = await stream.reply;
    if (!signal?.aborted) unwrapReply(reply, "done", "file");
  } finally {
    signal?.removeEventListener("abort", cancel);
    await stream.cancel();
  }
}
