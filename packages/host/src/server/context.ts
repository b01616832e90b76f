import type { FastifyBaseLogger } from "fastify";
import type { KilnHome } from "../home.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import type { Builds } from "./builds.ts";
import type { DaemonConfig } from "./config.ts";
import type { Metrics } from "./metrics.ts";
import type { Tokens } from "./tokens.ts";

/** What the routes work with. */
export interface DaemonContext {
  home: KilnHome;
  config: DaemonConfig;
  sandboxes: Sandboxes;
  builds: Builds;
  tokens: Tokens;
  metrics: Metrics;
  log: FastifyBaseLogger;
  /** Fires when the daemon ends: long answers end then, sandboxes do not. */
  closing: AbortSignal;
}
