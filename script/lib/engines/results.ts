import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";

const ROOT = resolve(import.meta.dirname, "../../..");
/** Where results are kept, one file an engine. */
export const RESULTS = join(ROOT, "test/engines/results");
/** The page with the table of them. */
export const PAGE = join(ROOT, "docs/engines.md");

/** What was found of one thing that VMs should be able to do. */
export const Ability = z.strictObject({
  area: z.string(),
  name: z.string(),
  /** `no`: the engine was found to have no such thing; `failed`: it should have, and did not pass. */
  outcome: z.enum(["yes", "no", "failed"]),
  /** Of everything but `yes`. */
  why: z.string().optional(),
});
export type Ability = z.infer<typeof Ability>;

/** What a run of the engine suite (test/engines/parity.test.ts) found about one engine. */
export const EngineResult = z.strictObject({
  format: z.literal(1),
  /** As in a snapshot's identity. */
  engine: z.string(),
  accelerator: z.string(),
  version: z.string(),
  /** What the VMs were made of: `1 vCPU, 512 MiB`. */
  guest: z.string(),
  date: z.iso.date(),
  abilities: z.array(Ability).min(1),
});
export type EngineResult = z.infer<typeof EngineResult>;

/** The file of a result. */
export const resultName = ({ engine, accelerator }: Pick<EngineResult, "engine" | "accelerator">): string =>
  `${engine}-${accelerator}.json`;

/** Every result that is kept, in the order of the files' names. */
export async function readResults(): Promise<EngineResult[]> {
  const names = (await readdir(RESULTS)).filter((name) => name.endsWith(".json")).sort();
  return Promise.all(
    names.map(async (name) => EngineResult.parse(JSON.parse(await readFile(join(RESULTS, name), "utf8")))),
  );
}
