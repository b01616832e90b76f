import { join } from "node:path";

/** The checkout. */
export const PROJECT = join(import.meta.dirname, "..");
