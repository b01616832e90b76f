import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ChunkAnswer, ChunkJob, ChunkResult } from "./chunk-jobs.ts";

/** Threads at most: more are no faster than a store and a disk. */
const MAX_THREADS = 8;
/** Jobs a thread has: one it works at, and the next, so that it need not wait for this process to be told. */
const JOBS_EACH = 2;

interface Thread {
  worker: Worker;
  /** Who waits, in the order the thread was asked. */
  waiting: PromiseWithResolvers<ChunkResult<ChunkJob>>[];
}

/**
 * Threads that compress, unpack and check chunks, many at a time: what a message costs is little beside that, where a task of Node.js'
 * own pool for each chunk costs as much as the chunk. They are started when there is something to do.
 */
export class ChunkThreads implements AsyncDisposable {
  readonly #max = Math.min(MAX_THREADS, availableParallelism());
  readonly #threads: Thread[] = [];

  /** As many jobs at once keep every thread busy. */
  readonly atOnce = this.#max * JOBS_EACH;

  /** @throws a Node.js system error. */
  run<J extends ChunkJob>(job: J): Promise<ChunkResult<J>> {
    const thread = this.#leastBusy();
    const waiting = Promise.withResolvers<ChunkResult<ChunkJob>>();
    thread.waiting.push(waiting);
    thread.worker.ref();
    thread.worker.postMessage(job, job.kind === "unpack" && isAll(job.bytes) ? [job.bytes.buffer] : []);
    return waiting.promise as Promise<ChunkResult<J>>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.splice(0).map(({ worker }) => worker.terminate()));
  }

  #leastBusy(): Thread {
    const [first] = this.#threads.sort((a, b) => a.waiting.length - b.waiting.length);
    if (first && (first.waiting.length === 0 || this.#threads.length === this.#max)) return first;
    return this.#start();
  }

  #start(): Thread {
    const worker = new Worker(new URL("./chunk-thread.ts", import.meta.url));
    const thread: Thread = { worker, waiting: [] };
    worker.on("message", (answer: ChunkAnswer) => {
      const waiting = thread.waiting.shift();
      if (thread.waiting.length === 0) worker.unref();
      if ("result" in answer) waiting?.resolve(answer.result);
      else waiting?.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }));
    });
    const fail = (error: Error) => {
      const index = this.#threads.indexOf(thread);
      if (index >= 0) this.#threads.splice(index, 1);
      for (const waiting of thread.waiting.splice(0)) waiting.reject(error);
    };
    worker.on("error", fail);
    worker.on("exit", () => fail(new Error("a thread for chunks has ended")));
    this.#threads.push(thread);
    return thread;
  }
}

/** Whether an array is all of its memory: nobody else loses anything when that is taken away. */
const isAll = ({ byteLength, buffer }: Uint8Array<ArrayBuffer>): boolean => byteLength === buffer.byteLength;
