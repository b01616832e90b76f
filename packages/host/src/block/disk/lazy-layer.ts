import { FetchClient } from "../../lazy/fetch-client.ts";
import type { LazyFile } from "../../lazy/lazy-file.ts";
import { BLOCK_SIZE } from "./geometry.ts";
import type { Layer } from "./layer.ts";
import { readWhole } from "./whole-io.ts";

/** The fetchers this process asks, by KILN_HOME: one connection serves all disks. */
const clients = new Map<string, FetchClient>();

function clientOf(home: string): FetchClient {
  let client = clients.get(home);
  if (client === undefined) {
    client = new FetchClient(home);
    clients.set(home, client);
  }
  return client;
}

/** A file that has not arrived as a whole: another process, the fetcher, puts into it what is missing. */
export class LazyLayer implements Layer {
  readonly #fd: number;
  readonly #lazy: LazyFile;
  readonly #client: FetchClient;
  readonly #release: () => void;

  /** Takes over `lazy`. `release` lets go of `fd`. */
  constructor(fd: number, lazy: LazyFile, release: () => void) {
    this.#fd = fd;
    this.#lazy = lazy;
    this.#client = clientOf(lazy.home);
    this.#release = release;
  }

  /** @throws an `EIO` error for what is not there: it would read as zeros. */
  read(target: Buffer, at: number, length: number, position: number): void {
    if (!this.#has(length, position)) {
      throw Object.assign(new Error(`${this.#lazy.path}: a part of it could not be fetched`), {
        code: "EIO",
      });
    }
    readWhole(this.#fd, target, at, length, position);
  }

  fetch(length: number, position: number): Promise<void> | undefined {
    if (this.#has(length, position)) return undefined;
    const { first, end } = this.#lazy.partsIn(...blocks(length, position));
    return this.#client.fetch(this.#lazy.path, first, end);
  }

  close(): void {
    this.#lazy[Symbol.dispose]();
    this.#release();
  }

  #has(length: number, position: number): boolean {
    const [block, endBlock] = blocks(length, position);
    if (this.#lazy.covers(block, endBlock)) return true;
    const { first, end } = this.#lazy.partsIn(block, endBlock);
    return this.#lazy.refresh(first, end);
  }
}

const blocks = (length: number, position: number): [number, number] => [
  Math.floor(position / BLOCK_SIZE),
  Math.ceil((position + length) / BLOCK_SIZE),
];
