import { closeSync, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { KilnError, systemErrorCode } from "../../errors.ts";
import { LazyFile } from "../../lazy/lazy-file.ts";
import { forEachPresent } from "./block-map.ts";
import { DATA_FILE, Diff } from "./diff.ts";
import { NO_PARENT } from "./diff-header.ts";
import { BLOCK_SIZE, DATA, MAX_DEVICE_SIZE, MAX_LAYERS } from "./geometry.ts";
import { FileLayer, type Layer } from "./layer.ts";
import { LazyLayer } from "./lazy-layer.ts";

/** In the table: this block reads as zeros. Other values are indexes of `layers`; 0 is the base image. */
export const LOWER_ZERO = 255;

/**
 * Everything below a session's diff, merged: one byte a block names the layer that holds it, so that a read takes one
 * step however deep the chain. Read-only, and shared by all disks of the same template.
 */
export interface Lower {
  readonly sizeBytes: number;
  /** Base image first, then the diffs, lowest first. */
  readonly layers: readonly Layer[];
  /** Whether some of them have not arrived as a whole. */
  readonly lazy: boolean;
  /** Undefined when there is nothing but the base image. */
  readonly table: Uint8Array | undefined;
  /** Identity of the topmost diff, or `NO_PARENT`. */
  readonly top: string;
  close(): void;
}

export interface LowerSource {
  /** Path of the base image, a raw file. */
  base: string;
  /** Folders of sealed diffs, lowest first. */
  layers: readonly string[];
  /** Size of the device, in bytes. @default the size of the base image, rounded up to a block */
  sizeBytes?: number | undefined;
}

/**
 * `becomingLayer`: the topmost layer is sealed only after this, and nothing writes to it in between.
 *
 * @throws KilnError `IMAGE_INVALID` when a file is missing, damaged or not of this chain; `USAGE` for a bad size.
 */
export async function openLower(
  source: LowerSource,
  { becomingLayer = false }: { becomingLayer?: boolean } = {},
): Promise<Lower> {
  const base = await stat(source.base).catch((cause: unknown) => {
    throw new KilnError(
      "IMAGE_INVALID",
      `${source.base}: cannot be opened (${systemErrorCode(cause) ?? "?"})`,
      {
        cause,
      },
    );
  });
  if (!base.isFile()) throw new KilnError("IMAGE_INVALID", `${source.base}: not a regular file`);
  const sizeBytes = source.sizeBytes ?? Math.ceil(base.size / BLOCK_SIZE) * BLOCK_SIZE;
  checkGeometry(source, base.size, sizeBytes);

  const layers: Layer[] = [];
  const close = () => {
    for (const layer of layers.splice(0)) layer.close();
  };
  try {
    layers.push(openBase(source.base));
    let table: Uint8Array | undefined;
    let top = NO_PARENT;
    for (const [number, directory] of source.layers.entries()) {
      const topmost = number === source.layers.length - 1;
      const diff = Diff.open(directory, becomingLayer && topmost ? "becoming-layer" : "layer");
      layers.push(layerOf(diff));
      checkChain(diff, top, sizeBytes);
      top = diff.header.identity;
      const index = layers.length - 1;
      const merged = table ?? new Uint8Array(sizeBytes / BLOCK_SIZE);
      forEachPresent(diff.map.bytes, (block, state) => {
        if (block < merged.length) merged[block] = state === DATA ? index : LOWER_ZERO;
      });
      table = merged;
    }
    const lazy = layers.some((layer) => layer.fetch !== undefined);
    return { sizeBytes, layers, lazy, table, top, close };
  } catch (error) {
    close();
    throw error;
  }
}

function openBase(path: string): Layer {
  const lazy = LazyFile.open(path);
  if (lazy === undefined) return FileLayer.open(path);
  const fd = openSync(path, "r");
  return new LazyLayer(fd, lazy, () => closeSync(fd));
}

function layerOf(diff: Diff): Layer {
  const lazy = LazyFile.open(join(diff.directory, DATA_FILE));
  if (lazy !== undefined) return new LazyLayer(diff.dataFd, lazy, () => diff.close());
  const file = new FileLayer(diff.dataFd);
  return {
    read: (target, at, length, position) => file.read(target, at, length, position),
    close: () => diff.close(),
  };
}

function checkGeometry(source: LowerSource, baseSize: number, sizeBytes: number): void {
  if (sizeBytes <= 0 || sizeBytes > MAX_DEVICE_SIZE || sizeBytes % BLOCK_SIZE !== 0) {
    throw new KilnError(
      "USAGE",
      `a disk must be 4 KiB to 1 TiB in steps of 4 KiB: current size is ${sizeBytes} bytes`,
    );
  }
  if (sizeBytes < baseSize) {
    throw new KilnError("USAGE", `${source.base} is ${baseSize} bytes, larger than the disk's ${sizeBytes}`, {
      hint: "a disk can be larger than its base image, never smaller",
    });
  }
  if (source.layers.length > MAX_LAYERS) {
    throw new KilnError(
      "USAGE",
      `a disk has at most ${MAX_LAYERS} layers: ${source.layers.length} were given`,
    );
  }
}

function checkChain(diff: Diff, below: string, sizeBytes: number): void {
  if (diff.header.sizeBytes !== sizeBytes) {
    throw new KilnError(
      "IMAGE_INVALID",
      `${diff.directory}: is a diff of a disk of ${diff.header.sizeBytes} bytes, not of ${sizeBytes}`,
    );
  }
  if (diff.header.parent !== below) {
    throw new KilnError("IMAGE_INVALID", `${diff.directory}: was made on top of something else`, {
      hint: "give the layers lowest first, the same ones the diff was made on",
      details: { expectedParent: below, parent: diff.header.parent },
    });
  }
}
