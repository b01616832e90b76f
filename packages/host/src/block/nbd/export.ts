import type { Disk } from "../disk/disk.ts";

/** What a disk did, counted since it was added. */
export interface ExportCounters {
  /** Requests taken, whatever came of them. */
  requests: number;
  bytesRead: number;
  bytesWritten: number;
  /** Requests answered with an error: the client's mistakes and the host's failures. */
  errors: number;
}

/** A disk under the name clients ask for: nobody else may know it. */
export interface Export {
  readonly name: string;
  readonly disk: Disk;
  readonly counters: ExportCounters;
}

/** The exports of a server. */
export interface Exports {
  get(name: string): Export | undefined;
}
