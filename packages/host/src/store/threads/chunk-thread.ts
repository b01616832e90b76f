/** What a thread of `ChunkThreads` does, one job after the other. Its whole work is to compute and to write, so it does both synchronously. */
import { writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { compressChunk, unpackChunk } from "../format/chunk.ts";
import type { ChunkAnswer, ChunkJob, Compressed, CompressJob, Unpacked, UnpackJob } from "./chunk-jobs.ts";

function compress({ bytes, lengths, target }: CompressJob): Compressed {
  let at = 0;
  let end = 0;
  return lengths.map((length) => {
    const stored = compressChunk(bytes.subarray(at, at + length));
    at += length;
    target.set(stored.bytes, end);
    end += stored.bytes.length;
    return { length: stored.bytes.length, raw: stored.raw };
  });
}

function unpack({ bytes, chunks, fd }: UnpackJob): Unpacked {
  const refused: { index: number; why: string }[] = [];
  for (const [index, { offset, stored, raw, position, ...expected }] of chunks.entries()) {
    const unpacked = unpackChunk({ bytes: bytes.subarray(offset, offset + stored), raw }, expected);
    if ("why" in unpacked) refused.push({ index, why: unpacked.why });
    else if (fd !== undefined) writeAllSync(fd, unpacked.content, position);
  }
  return { refused, given: bytes };
}

function writeAllSync(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

parentPort?.on("message", (job: ChunkJob) => {
  try {
    if (job.kind === "compress") answer({ result: compress(job) });
    else answer({ result: unpack(job) }, [job.bytes.buffer]);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : undefined;
    answer({ error: { message: error instanceof Error ? error.message : String(error), code } });
  }
});

function answer(message: ChunkAnswer, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}
