import { availableParallelism } from "node:os";
import { Turns } from "../os/turns.ts";

/** A start is over long before, unless its VM waits for something that others do not: memory from a store. In milliseconds. */
const LIMIT_MS = 2_000;

/**
 * The VMs of this process that start, up to their agent's first answer. More of them at once would be there no sooner, and a guest that
 * waits for a processor hears late what time it is.
 */
export const STARTS = new Turns(2 * availableParallelism(), LIMIT_MS);
