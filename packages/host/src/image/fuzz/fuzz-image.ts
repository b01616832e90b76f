import { rm } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../../errors.ts";
import { checkFileSystem } from "../testing/tools.ts";
import { writeExt4Image } from "../write-ext4-image.ts";
import { randomTar } from "./mutate-tar.ts";
import { SeededRandom } from "./random.ts";

const IMAGE_BYTES = 64 * 1024 ** 2;
/** No archive of these sizes takes longer, by far. */
const TIMEOUT_MS = 20_000;

export interface FuzzReport {
  images: number;
  refused: number;
}

export interface FuzzOptions {
  seed: number;
  /** Archives to try. */
  runs: number;
  /** Folder for the images. */
  folder: string;
  /** Every how many images e2fsck is asked; 0 for never. */
  checkEvery: number;
}

/**
 * Feeds random, broken and malicious archives to the image writer. Each must end with an image or with a KilnError of
 * the archive's fault.
 * @throws Error naming the seed of the archive that ended otherwise
 */
export async function fuzzImage(options: FuzzOptions): Promise<FuzzReport> {
  const report: FuzzReport = { images: 0, refused: 0 };
  const path = join(options.folder, "fuzz.img");
  for (let run = 0; run < options.runs; run++) {
    const seed = options.seed + run;
    const random = new SeededRandom(seed * 2_654_435_761);
    const tar = randomTar(random);
    const piece = 1 + random.below(3000);
    const source = (async function* () {
      for (let at = 0; at < tar.length; at += piece) yield tar.subarray(at, at + piece);
    })();
    try {
      await writeExt4Image({
        tar: source,
        path,
        sizeBytes: IMAGE_BYTES,
        seed: "fuzz",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      report.images++;
      if (options.checkEvery > 0 && report.images % options.checkEvery === 0) await checkFileSystem(path);
    } catch (error) {
      const expected = error instanceof KilnError && ["IMAGE_INVALID", "DISK_FULL"].includes(error.code);
      if (!expected) throw new Error(`seed ${seed}: ${error}`, { cause: error });
      report.refused++;
    } finally {
      await rm(path, { force: true });
    }
  }
  return report;
}
