import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { KilnError } from "../../errors.ts";
import { Diff } from "./diff.ts";
import { Disk } from "./disk.ts";
import { BLOCK_SIZE } from "./geometry.ts";
import { type Lower, openLower } from "./lower.ts";
import { mergeLayers } from "./merge.ts";
import { isSealed } from "./sealed.ts";

const BLOCKS = 24;
const SIZE = BLOCKS * BLOCK_SIZE;
/** Not a whole number of blocks, and shorter than the device. */
const BASE_LENGTH = 10 * BLOCK_SIZE + 1234;

/** A disk as its users see it: opened anew at will, and sealed into one more layer at will. */
class Machine {
  readonly #directory: string;
  readonly layers: string[] = [];
  #lower: Lower | undefined;
  #diff: Diff | undefined;
  #merges = 0;
  #disk: Disk | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async open(): Promise<void> {
    this.#lower = await openLower({
      base: join(this.#directory, "base"),
      layers: this.layers,
      sizeBytes: SIZE,
    });
    const folder = this.#diffFolder;
    const diff = Diff.exists(folder)
      ? Diff.open(folder, "writable")
      : Diff.create(folder, SIZE, this.#lower.top);
    this.#diff = diff;
    this.#disk = new Disk(this.#lower, diff, "disk");
  }

  get disk(): Disk {
    assert.ok(this.#disk);
    return this.#disk;
  }

  async reopen(): Promise<void> {
    await this.close();
    await this.open();
  }

  async stack(): Promise<void> {
    await this.disk.seal();
    const sealed = this.#diffFolder;
    await this.close();
    this.layers.push(sealed);
    await this.open();
  }

  /** The same as `stack`, on the open disk. */
  async rotate(): Promise<void> {
    const sealed = this.#diffFolder;
    const [lowerBefore, diffBefore] = [this.#lower, this.#diff];
    this.layers.push(sealed);
    await this.disk.rotate(async () => {
      const source = { base: join(this.#directory, "base"), layers: this.layers, sizeBytes: SIZE };
      const lower = await openLower(source, { becomingLayer: true });
      this.#lower = lower;
      this.#diff = Diff.create(this.#diffFolder, SIZE, lower.top);
      return { lower, diff: this.#diff };
    });
    diffBefore?.close();
    lowerBefore?.close();
    assert.equal(await isSealed(sealed), true);
    assert.equal(await isSealed(this.#diffFolder), false);
  }

  /** Puts one layer in the place of those from `first` on, under whatever is above. */
  async merge(first: number): Promise<void> {
    const lowest = first % Math.max(1, this.layers.length);
    const merged = join(this.#directory, `merged${this.#merges}`);
    const gone = this.layers.slice(lowest);
    if (gone.length === 0) return;
    const diffBefore = this.#diffFolder;
    this.#merges++;
    await mergeLayers(gone, merged);
    this.layers.splice(lowest, gone.length, merged);
    renameSync(diffBefore, this.#diffFolder);
    for (const folder of gone) rmSync(folder, { recursive: true });
    await this.reopen();
  }

  async close(): Promise<void> {
    await this.#disk?.settle();
    this.#diff?.close();
    this.#lower?.close();
  }

  get #diffFolder(): string {
    return join(this.#directory, `diff${this.layers.length}-${this.#merges}`);
  }
}

const range = fc.tuple(fc.nat(SIZE - 1), fc.oneof(fc.nat(300), fc.nat(5 * BLOCK_SIZE), fc.nat(SIZE)));
const step = fc.oneof(
  fc.record({
    op: fc.constantFrom("write", "zero", "trim", "read", "extents"),
    range,
    fill: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ op: fc.constantFrom("reopen", "stack", "rotate", "flush") }),
  fc.record({ op: fc.constant("merge"), first: fc.nat(10) }),
);

test("a disk holds what was written to it, through layers and reopening", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const directory = mkdtempSync(join(tmpdir(), "kiln-disk-"));
      const machine = new Machine(directory);
      try {
        const base = Buffer.alloc(BASE_LENGTH);
        for (let index = 0; index < base.length; index++) base[index] = (index * 31 + (index >> 8)) & 255;
        writeFileSync(join(directory, "base"), base);
        const model = Buffer.alloc(SIZE);
        base.copy(model);
        await machine.open();
        for (const action of steps) await apply(machine, model, action);
        assertSame(machine.disk, model, 0, SIZE);
        await machine.reopen();
        assertSame(machine.disk, model, 0, SIZE);
      } finally {
        await machine.close();
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 60, seed: 7 },
  );
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function apply(machine: Machine, model: Buffer, action: Step): Promise<void> {
  if (!("range" in action)) {
    if (action.op === "flush") await machine.disk.flush();
    else if (action.op === "reopen") await machine.reopen();
    else if (action.op === "rotate") await machine.rotate();
    else if ("first" in action) await machine.merge(action.first);
    else await machine.stack();
    return;
  }
  const [offset, wanted] = action.range;
  const length = Math.min(wanted, SIZE - offset);
  if (length === 0) return;
  switch (action.op) {
    case "write": {
      const bytes = Buffer.alloc(length + 3);
      for (let index = 0; index < length; index++) bytes[3 + index] = (action.fill + index) & 255;
      machine.disk.write(bytes, 3, length, offset);
      bytes.copy(model, offset, 3);
      return;
    }
    case "zero":
      machine.disk.zero(length, offset);
      model.fill(0, offset, offset + length);
      return;
    case "trim": {
      const first = Math.ceil(offset / BLOCK_SIZE) * BLOCK_SIZE;
      const end = Math.floor((offset + length) / BLOCK_SIZE) * BLOCK_SIZE;
      machine.disk.trim(length, offset);
      if (first < end) model.fill(0, first, end);
      return;
    }
    case "read":
      assertSame(machine.disk, model, offset, length);
      return;
    default: {
      let position = offset;
      for (const extent of machine.disk.extents(length, offset, 1000)) {
        assert.ok(extent.length > 0);
        if (extent.zero)
          assert.ok(model.subarray(position, position + extent.length).every((byte) => byte === 0));
        position += extent.length;
      }
      assert.equal(position, offset + length);
    }
  }
}

function assertSame(disk: Disk, model: Buffer, offset: number, length: number): void {
  const bytes = Buffer.alloc(length + 5, 0xee);
  disk.read(bytes, 5, length, offset);
  assert.ok(
    bytes.subarray(5).equals(model.subarray(offset, offset + length)),
    `bytes at ${offset}, ${length} long`,
  );
}

test("files that are no diff, or another disk's, are refused by name", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kiln-diff-"));
  const base = join(directory, "base");
  const make = (name: string) => {
    const folder = join(directory, name);
    Diff.create(folder, SIZE, "0".repeat(32)).close();
    return folder;
  };
  const refused = (file: string, pattern: RegExp) => (error: unknown) =>
    error instanceof KilnError &&
    error.code === "IMAGE_INVALID" &&
    error.message.includes(file) &&
    pattern.test(error.message);
  const overwrite = async (path: string, at: number, bytes: number[]) => {
    await using file = await open(path, "r+");
    await file.write(Buffer.from(bytes), 0, bytes.length, at);
  };
  try {
    writeFileSync(base, Buffer.alloc(SIZE));
    const shortMap = make("short-map");
    truncateSync(join(shortMap, "map"), 5000);
    assert.throws(() => Diff.open(shortMap, "writable"), refused(join(shortMap, "map"), /no|long/));

    const shortData = make("short-data");
    truncateSync(join(shortData, "data"), SIZE - 1);
    assert.throws(() => Diff.open(shortData, "writable"), refused(join(shortData, "data"), /bytes long/));

    const torn = make("torn");
    await overwrite(join(torn, "map"), 17, [1]);
    assert.throws(() => Diff.open(torn, "writable"), refused(join(torn, "map"), /torn header/));

    const foreign = make("foreign");
    await overwrite(join(foreign, "map"), 0, [1, 2, 3]);
    assert.throws(() => Diff.open(foreign, "writable"), refused(join(foreign, "map"), /not a disk diff/));

    const garbled = make("garbled");
    await overwrite(join(garbled, "map"), 4096, [255]);
    assert.throws(() => Diff.open(garbled, "writable"), refused(join(garbled, "map"), /map is damaged/));

    const unsealed = make("unsealed");
    await assert.rejects(openLower({ base, layers: [unsealed] }), refused(unsealed, /not sealed/));

    const sealed = make("sealed");
    const diff = Diff.open(sealed, "writable");
    await diff.seal();
    diff.close();
    assert.throws(() => Diff.open(sealed, "writable"), refused(sealed, /sealed/));
    await assert.rejects(openLower({ base, layers: [sealed, sealed] }), refused(sealed, /something else/));
    await assert.rejects(
      openLower({ base, layers: [sealed], sizeBytes: 2 * SIZE }),
      refused(sealed, /of a disk/),
    );
    (await openLower({ base, layers: [sealed] })).close();
    await assert.rejects(openLower({ base: join(directory, "none"), layers: [] }), refused("none", /ENOENT/));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("layers that are no chain, or not sealed, are not merged", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kiln-merge-"));
  try {
    const folders = ["a", "b"].map((name) => join(directory, name));
    for (const folder of folders) Diff.create(folder, SIZE, "0".repeat(32)).close();
    const target = join(directory, "target");
    await assert.rejects(mergeLayers(folders, target), /not sealed/);
    for (const folder of folders) {
      const diff = Diff.open(folder, "writable");
      await diff.seal();
      diff.close();
    }
    await assert.rejects(mergeLayers(folders, target), /something else/);
    assert.equal(Diff.exists(target), false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a diff's limit counts what the file system gave, and only new room", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kiln-limit-"));
  try {
    const base = join(directory, "base");
    writeFileSync(base, Buffer.alloc(SIZE));
    const lower = await openLower({ base, layers: [] });
    const diff = Diff.create(join(directory, "diff"), SIZE, lower.top);
    const disk = new Disk(lower, diff, "process", 4 * BLOCK_SIZE);
    const block = Buffer.alloc(2 * BLOCK_SIZE, 7);
    const full = { code: "ENOSPC" };
    disk.write(block, 0, 2 * BLOCK_SIZE, 0);
    disk.write(block, 0, 100, 5 * BLOCK_SIZE);
    disk.write(block, 0, BLOCK_SIZE, 9 * BLOCK_SIZE);
    assert.throws(() => disk.write(block, 0, 1, 3 * BLOCK_SIZE), full);
    assert.throws(() => disk.write(block, 0, 2 * BLOCK_SIZE, 5 * BLOCK_SIZE), full);
    disk.write(block, 0, 2 * BLOCK_SIZE, 0); // What is there already may be written as often as one likes.
    disk.zero(SIZE, 0); // And zeros take no room, ...
    assert.throws(() => disk.write(block, 0, 1, 3 * BLOCK_SIZE), full); // ... but give none back either.
    const read = Buffer.alloc(SIZE, 1);
    disk.read(read, 0, SIZE, 0);
    assert.ok(read.every((byte) => byte === 0));
    assert.equal(disk.allocation().dataBytes, 4 * BLOCK_SIZE);
    diff.close();
    lower.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("what a crash left of making a diff is replaced", () => {
  const directory = mkdtempSync(join(tmpdir(), "kiln-half-"));
  try {
    writeFileSync(join(directory, "data"), "half");
    writeFileSync(join(directory, "map.new"), "half");
    assert.equal(Diff.exists(directory), false);
    Diff.create(directory, SIZE, "0".repeat(32)).close();
    assert.equal(Diff.exists(directory), true);
    Diff.open(directory, "writable").close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});
