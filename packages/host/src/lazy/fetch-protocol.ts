import { join } from "node:path";
import { z } from "zod";
import type { ServerKind } from "../os/server/server-kind.ts";

/**
 * The fetcher: a process, one for each KILN_HOME, that brings the missing parts of files from the store. What is said over its
 * control socket is one JSON object a line, as for the other servers.
 */
export const FETCHER: ServerKind = {
  name: "fetcher",
  greeting: "fetcher",
  version: 2,
  code: "STORE_UNAVAILABLE",
  threads: 16,
};

export const fetcherDirectory = (home: string): string => join(home, "fetch");
export const CONTROL_SOCKET = "control.sock";

const Path = z.string().min(1).max(4096).startsWith("/");
const seq = z.int().nonnegative();
const part = z.int().nonnegative();

export const FetchRequest = z.discriminatedUnion("op", [
  /** Answered when these parts of the file are there. */
  z.strictObject({ op: z.literal("fetch"), seq, path: Path, first: part, end: part }),
  /** Answered when all of the file is there, or after a while. */
  z.strictObject({ op: z.literal("complete"), seq, path: Path }),
  /** Answered with parts that somebody wanted and that came after the first `since` of them, or with none after a while. */
  z.strictObject({ op: z.literal("arrivals"), seq, path: Path, since: z.int().nonnegative() }),
  /** Begins to bring files in the background, and along what earlier starts touched first. */
  z.strictObject({ op: z.literal("begin"), seq, paths: z.array(Path).max(500) }),
  z.strictObject({ op: z.literal("status"), seq }),
  z.strictObject({ op: z.literal("stop"), seq }),
]);
export type FetchRequest = z.output<typeof FetchRequest>;

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type FetchBody = WithoutSeq<FetchRequest>;

export const Arrivals = z.object({
  parts: z.array(part),
  /** What the next request is to say. */
  next: z.int().nonnegative(),
  /** The file has come as a whole: there is nothing more to ask for. */
  whole: z.boolean(),
});
export type Arrivals = z.output<typeof Arrivals>;

/** False: it takes longer; to be asked again. */
export const Completed = z.object({ whole: z.boolean() });

export const FetchStatus = z.object({
  files: z.array(
    z.object({
      path: z.string(),
      parts: z.int(),
      missing: z.int(),
      touched: z.int(),
      waiting: z.int(),
      /** Why somebody could not have a part, or waits for one; null when the last that was wanted has come. */
      failure: z.string().nullable(),
    }),
  ),
  /** Bytes received from the store since the fetcher was started. */
  fetchedBytes: z.int(),
  requests: z.int(),
  /** What the store's last failure was, while it does not answer. */
  failure: z.string().nullable(),
});
export type FetchStatus = z.output<typeof FetchStatus>;
