import { createReadStream } from "node:fs";
import { appendFile, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { Build, type BuildEvent } from "./schemas/template.ts";

/** What is on disk of one build: its state in `build.json`, its events in `events.ndjson`. */
export class BuildFiles {
  readonly #folder: string;
  readonly #events: string;
  #writing = Promise.resolve();

  constructor(home: KilnHome, id: string) {
    this.#folder = join(home.builds, id);
    this.#events = join(this.#folder, "events.ndjson");
  }

  /** The state, or undefined when there is none that can be read. */
  async read(): Promise<Build | undefined> {
    try {
      return Build.parse(JSON.parse(await readFile(join(this.#folder, "build.json"), "utf8")));
    } catch {
      return undefined;
    }
  }

  async write(build: Build): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await writeFileAtomic(join(this.#folder, "build.json"), `${JSON.stringify(build)}\n`);
  }

  /** Adds an event after those before it. A full disk costs the event, not the build. */
  append(event: BuildEvent): Promise<void> {
    this.#writing = this.#writing
      .then(() => appendFile(this.#events, `${JSON.stringify(event)}\n`))
      .catch(() => undefined);
    return this.#writing;
  }

  /** The lines of the events there are, without those that a full disk or a crash has cut. */
  async *lines(): AsyncGenerator<string> {
    const input = createReadStream(this.#events);
    input.on("error", () => undefined); // The loop throws it.
    try {
      for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
        if (isWhole(line)) yield line;
      }
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error; // No event yet.
    }
  }

  async remove(): Promise<void> {
    await this.#writing;
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function isWhole(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
