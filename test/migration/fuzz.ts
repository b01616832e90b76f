import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { KilnError } from "@kiln/host/errors.ts";
import { PAGE_BYTES } from "@kiln/host/vmm/qemu/migration/ram-block.ts";
import { MigrationSplitter } from "@kiln/host/vmm/qemu/migration/split.ts";
import {
  buildStream,
  type SamplePage,
  type SampleStream,
} from "@kiln/host/vmm/qemu/migration/testing/stream-builder.ts";
import { Random } from "../support/random.ts";

const PAGES = 32;
const MAIN = { name: "memory", bytes: PAGES * PAGE_BYTES };
const FIRMWARE = { name: "pc.bios", bytes: 4 * PAGE_BYTES };

export interface FuzzResult {
  runs: number;
  /** Streams that were separated, damaged or not. */
  separated: number;
  /** Streams that were refused. */
  refused: number;
}

/** A stream of pages in any order, some of them twice. */
function randomStream(random: Random): SampleStream {
  const page = (): SamplePage => {
    const block = random.chance(4) ? FIRMWARE : MAIN;
    const offset = random.below(block.bytes / PAGE_BYTES) * PAGE_BYTES;
    const content = random.chance(2) ? random.pick([0, 0, 0, 7]) : Buffer.alloc(PAGE_BYTES, random.bytes(16));
    return { block: block.name, offset, content };
  };
  const section = () => Array.from({ length: random.below(8) }, page);
  return {
    blocks: [MAIN, FIRMWARE],
    sections: Array.from({ length: 1 + random.below(4) }, section),
    devices: random.bytes(random.below(200)),
  };
}

/** Changes, removes, doubles or inserts some bytes, most of them outside of pages. */
function damage(random: Random, stream: Buffer): Buffer {
  let damaged = Buffer.from(stream);
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = random.chance(2) ? random.below(Math.min(220, damaged.length)) : random.below(damaged.length);
    const length = 1 + random.below(random.chance(8) ? 5_000 : 8);
    const [before, after] = [damaged.subarray(0, at), damaged.subarray(at)];
    damaged = random.pick([
      () => Buffer.concat([before, random.bytes(Math.min(length, after.length)), after.subarray(length)]),
      () => Buffer.concat([before, after.subarray(length)]),
      () => Buffer.concat([before, after.subarray(0, length), after]),
      () => Buffer.concat([before, random.bytes(length), after]),
      () => Buffer.from(before),
      () =>
        Buffer.concat([before, Buffer.from([(after[0] ?? 0) ^ (1 << random.below(8))]), after.subarray(1)]),
    ])();
    if (damaged.length === 0) break;
  }
  return damaged;
}

/** Separates a stream cut at random; checks what must hold whatever is in it. */
function separate(random: Random, stream: Buffer): { memory: Buffer; state: Buffer } {
  const memory = Buffer.alloc(MAIN.bytes);
  const place = (offset: number) => {
    assert.ok(Number.isSafeInteger(offset) && offset >= 0 && offset % PAGE_BYTES === 0, `page at ${offset}`);
    assert.ok(offset < MAIN.bytes, `a page beyond memory: ${offset}`);
  };
  const splitter = new MigrationSplitter(MAIN, {
    page(offset, data) {
      place(offset);
      assert.equal(data.length, PAGE_BYTES);
      data.copy(memory, offset);
    },
    zeroPage(offset) {
      place(offset);
      memory.fill(0, offset, offset + PAGE_BYTES);
    },
  });
  const largest = random.pick([16, 5_000, 70_000]);
  for (let at = 0; at < stream.length; ) {
    const length = 1 + random.below(largest);
    splitter.push(stream.subarray(at, at + length));
    at += length;
  }
  const state = splitter.finish();
  assert.ok(state.length <= stream.length, "the state is more than there was");
  return { memory, state };
}

/** What must come of a stream that nobody damaged. */
function expected(stream: SampleStream): { memory: Buffer; state: Buffer } {
  const memory = Buffer.alloc(MAIN.bytes);
  for (const { block, offset, content } of stream.sections.flat()) {
    if (block === MAIN.name) memory.fill(content, offset, offset + PAGE_BYTES);
  }
  return { memory, state: buildStream(stream, MAIN.name) };
}

/** Separates random streams, half of them damaged. A whole one comes out exact; any other is refused in order or comes out within bounds. */
export function fuzzMigration({ runs, seed }: { runs: number; seed: number }): FuzzResult {
  const random = new Random(seed);
  const result: FuzzResult = { runs, separated: 0, refused: 0 };
  for (let run = 0; run < runs; run++) {
    const sample = randomStream(random);
    const whole = buildStream(sample);
    assert.deepEqual(separate(random, whole), expected(sample), `run ${run} of seed ${seed}`);
    try {
      separate(random, damage(random, whole));
      result.separated += 1;
    } catch (error) {
      if (!(error instanceof KilnError && error.code === "VM_FAILED")) throw error;
      result.refused += 1;
    }
  }
  return result;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "100000" }, seed: { type: "string", default: "1" } },
  });
  const started = performance.now();
  const result = fuzzMigration({ runs: Number(values.runs), seed: Number(values.seed) });
  console.log(JSON.stringify({ ...result, seconds: Math.round((performance.now() - started) / 1000) }));
}
