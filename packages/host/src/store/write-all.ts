import { write } from "node:fs";
import { promisify } from "node:util";

const writeSome = promisify(write);

/** Writes all of `bytes` at `position`. @throws a Node.js system error. */
export async function writeAll(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await writeSome(fd, bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
