import type { Digest } from "../format/digest.ts";

/** Contents of chunks, one after the other, that are to be compressed. */
export interface CompressJob {
  kind: "compress";
  bytes: Uint8Array<SharedArrayBuffer>;
  /** Of each chunk, in bytes. */
  lengths: readonly number[];
  /** Where the chunks are put as they are to be stored, one after the other; as long as `bytes`: none becomes longer. */
  target: Uint8Array<SharedArrayBuffer>;
}

/** Of each chunk, how it is stored. */
export type Compressed = readonly { length: number; raw: boolean }[];

/** A chunk as it is stored, what it has to be, and where its content belongs. */
export interface PackedChunk {
  /** Where it begins in the job's bytes, and its length there. */
  offset: number;
  stored: number;
  raw: boolean;
  digest: Digest;
  /** Of its content, in bytes. */
  length: number;
  /** Where its content belongs in the file, in bytes. */
  position: number;
}

/** Chunks that are to be unpacked, checked against their addresses, and only then written. */
export interface UnpackJob {
  kind: "unpack";
  /** Taken away from the caller where it is all of its memory; the result gives it back. */
  bytes: Uint8Array<ArrayBuffer>;
  chunks: readonly PackedChunk[];
  /** The file they are written to; undefined: they are only checked. */
  fd: number | undefined;
}

export interface Unpacked {
  /** What was not what it has to be, by its index among the job's chunks: nothing of it was written. */
  refused: readonly { index: number; why: string }[];
  /** What the job brought. */
  given: Uint8Array<ArrayBuffer>;
}

export type ChunkJob = CompressJob | UnpackJob;
export type ChunkResult<J extends ChunkJob> = J extends CompressJob ? Compressed : Unpacked;

/** What a thread answers, in the order it was asked. */
export type ChunkAnswer =
  | { result: Compressed | Unpacked }
  | { error: { message: string; code: string | undefined } };
