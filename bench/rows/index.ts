import { boot } from "./boot.ts";
import { build, cli } from "./cli.ts";
import { coldBuild } from "./cold-build.ts";
import { daemon } from "./daemon.ts";
import { engines } from "./engines.ts";
import { memory } from "./memory.ts";
import { nbd } from "./nbd.ts";
import { peers } from "./peers.ts";
import type { Row } from "./row.ts";
import { floor, tti } from "./tti.ts";
import { warm } from "./warm.ts";

/** Every row, in the order they are measured. */
export const ROWS: readonly Row[] = [
  tti,
  warm,
  daemon,
  boot,
  cli,
  build,
  memory,
  nbd,
  peers,
  floor,
  coldBuild,
  engines,
];

/** What is measured when nothing is named: `tti` has the floor in it, a cold build takes minutes, and most hosts have one engine. */
export const DEFAULT_ROWS: readonly Row[] = ROWS.filter(
  (row) => row !== floor && row !== coldBuild && row !== engines,
);
