import { StringDecoder } from "node:string_decoder";

/** Cuts a byte stream into lines, the last one kept until its end comes. */
export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8");
  readonly #limit: number;
  #rest = "";

  /** `limit`: longest line, in characters. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `bytes` completes, or undefined when a line is longer than allowed. */
  push(bytes: Buffer): string[] | undefined {
    const lines = (this.#rest + this.#decoder.write(bytes)).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > this.#limit || lines.some((line) => line.length > this.#limit)) return undefined;
    return lines.filter((line) => line !== "");
  }
}
