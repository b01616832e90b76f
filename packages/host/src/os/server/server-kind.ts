import type { ErrorCode } from "../../errors.ts";

/** A kind of server process, and what it is called in errors and on its control socket. */
export interface ServerKind {
  /** In sentences: "the … is gone". */
  name: string;
  /** In the greeting of its control socket. */
  greeting: string;
  /** Of what is said over that socket. */
  version: number;
  /** Code of its own failures. */
  code: ErrorCode;
  /** Threads for what Node.js does not do itself (files, looking up names). @default Node.js' own */
  threads?: number;
}
