/**
 * Feeds mutated frames to the host's side of the guest protocol, as a hostile guest would.
 *
 *     node test/guest/fuzz.ts --frames 10000000 --seed 1
 *
 * A run fails when anything but a KilnError `GUEST_PROTOCOL` comes out, when a stream is left without an end, or
 * when memory grows.
 */
import { parseArgs } from "node:util";
import { KilnError } from "@kiln/host/errors.ts";
import { GuestConnection } from "@kiln/host/guest/connection.ts";
import { encodeFrame, FLAG_END, Kind, MAX_PAYLOAD_BYTES, SYNC } from "@kiln/host/guest/frame.ts";
import { Ready, Reply } from "@kiln/host/guest/gen/kiln/agent/v1/agent.ts";
import type { GuestStream } from "@kiln/host/guest/stream.ts";
import { Random } from "../support/random.ts";
import { TestWire } from "../support/wire.ts";

const GENERATION = 7;
/** Frames of one connection, when it lasts so long. */
const FRAMES_PER_CONNECTION = 200;
const MAX_GROWTH_BYTES = 128 * 1024 * 1024;

export interface FuzzResult {
  frames: number;
  connections: number;
  /** Connections the host gave up, with `GUEST_PROTOCOL`. */
  refused: number;
}

const REPLIES: readonly Reply[] = [
  { kind: { $case: "done", value: { size: 3n } } },
  { kind: { $case: "exited", value: { status: { $case: "code", value: 3 }, timedOut: false } } },
  { kind: { $case: "error", value: { code: 2, errno: 2, message: "no such file\u001b[2J" } } },
  { kind: undefined },
];

function validFrame(random: Random, streams: number): Buffer {
  const stream = random.below(streams + 2);
  switch (random.below(6)) {
    case 0:
      return encodeFrame(
        Kind.credit,
        stream,
        GENERATION,
        Buffer.from(Uint32Array.of(random.below(65_536)).buffer),
      );
    case 1:
      return encodeFrame(Kind.close, stream, GENERATION, Reply.encode(random.pick(REPLIES)).finish());
    case 2:
      return encodeFrame(
        random.pick(Object.values(Kind)),
        stream,
        random.pick([GENERATION, 6, 8]),
        random.bytes(random.below(32)),
      );
    default: {
      const flags = (1 + random.below(2)) | (random.chance(16) ? FLAG_END : 0);
      const length = random.chance(200) ? MAX_PAYLOAD_BYTES : random.below(64);
      return encodeFrame(Kind.data, stream, GENERATION, Buffer.alloc(length), flags);
    }
  }
}

/** Flips, cuts, doubles or inserts bytes in about a third of the frames. */
function mutate(random: Random, frame: Buffer): Buffer {
  if (!random.chance(3)) return frame;
  const at = random.below(frame.length);
  switch (random.below(5)) {
    case 0:
      frame[at] = random.uint32() & 0xff;
      return frame;
    case 1:
      frame[random.below(16)] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
      return frame;
    case 2:
      return frame.subarray(0, at);
    case 3:
      return Buffer.concat([frame.subarray(0, at), random.bytes(1 + random.below(20)), frame.subarray(at)]);
    default:
      return Buffer.concat([frame, random.chance(2) ? SYNC : frame]);
  }
}

async function drain(stream: GuestStream): Promise<void> {
  const read = async (chunks: AsyncIterable<Buffer>) => {
    for await (const _ of chunks);
  };
  await Promise.allSettled([read(stream.output), read(stream.error), stream.reply]);
}

function assertProtocolError(error: unknown): void {
  if (error instanceof KilnError && (error.code === "GUEST_PROTOCOL" || error.code === "VM_FAILED")) return;
  throw new Error("the host's parser let a foreign error through", { cause: error });
}

async function fuzzConnection(random: Random, budget: number): Promise<{ frames: number; refused: boolean }> {
  const wire = new TestWire({ keep: false });
  const connection = new GuestConnection(wire);
  let failure: KilnError | undefined;
  void connection.closed.then((error) => {
    failure = error;
  });
  const ready = connection.handshake({ generation: GENERATION, timeoutMs: 60_000 });
  const handshake = ready.then(
    () => undefined,
    (error) => assertProtocolError(error),
  );
  const streams = Array.from({ length: 4 }, () =>
    connection.open({
      kind: {
        $case: "exec",
        value: {
          argv: ["x"],
          env: [],
          cwd: "",
          user: "",
          stdin: true,
          terminal: undefined,
          timeoutMs: 0n,
          keep: undefined,
        },
      },
    }),
  );
  const drained = Promise.all(streams.map(drain));
  const hello = Ready.encode({
    version: 1,
    window: 4_096,
    agentVersion: "0",
    uptimeNs: 1n,
    error: undefined,
    nonce: 0,
  }).finish();
  wire.receive(
    Buffer.concat([
      random.bytes(random.below(40)),
      SYNC,
      mutate(random, encodeFrame(Kind.ready, 0, GENERATION, hello)),
    ]),
  );
  let frames = 1;
  while (frames < budget && failure === undefined) {
    const burst = Array.from({ length: 1 + random.below(32) }, () =>
      mutate(random, validFrame(random, streams.length)),
    );
    frames += burst.length;
    const bytes = Buffer.concat(burst);
    const cut = random.below(bytes.length + 1);
    wire.receive(bytes.subarray(0, cut));
    wire.receive(bytes.subarray(cut));
    await new Promise(setImmediate);
  }
  const refused = failure !== undefined;
  if (failure) assertProtocolError(failure);
  connection.fail(new KilnError("VM_FAILED", "the test is over"));
  await Promise.all([handshake, drained]); // Every stream has ended, whatever the guest did.
  return { frames, refused };
}

/** Runs `frames` mutated frames. Throws for the first thing that is wrong. */
export async function fuzzHost(options: {
  frames: number;
  seed: number;
  onProgress?: (frames: number) => void;
}): Promise<FuzzResult> {
  const random = new Random(options.seed);
  const result: FuzzResult = { frames: 0, connections: 0, refused: 0 };
  let baseline = 0;
  while (result.frames < options.frames) {
    const { frames, refused } = await fuzzConnection(random, FRAMES_PER_CONNECTION);
    result.frames += frames;
    result.connections += 1;
    if (refused) result.refused += 1;
    if (result.connections % 2_000 === 0) {
      const resident = process.memoryUsage.rss();
      baseline ||= resident;
      if (resident - baseline > MAX_GROWTH_BYTES)
        throw new Error(`memory grew from ${baseline} to ${resident} bytes`);
      options.onProgress?.(result.frames);
    }
  }
  return result;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { frames: { type: "string", default: "10000000" }, seed: { type: "string", default: "1" } },
  });
  const started = performance.now();
  const onProgress = (frames: number) => process.stderr.write(`\r${frames} frames`);
  const result = await fuzzHost({ frames: Number(values.frames), seed: Number(values.seed), onProgress });
  console.log(
    `\n${JSON.stringify({ ...result, seconds: Math.round((performance.now() - started) / 1000) })}`,
  );
}
