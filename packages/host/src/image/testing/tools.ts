import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
/** e2fsprogs are in sbin, which not every user has in PATH. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: "C" };

/** Runs a tool; its standard output as bytes in a latin1 string. */
export async function runTool(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(command, args, { env, encoding: "latin1", maxBuffer: 256 * 1024 ** 2 });
  return stdout;
}

/** Why tests that need `command` have to be skipped here, or false. */
export async function missing(command: string, ...probe: string[]): Promise<string | false> {
  try {
    await run(command, probe, { env });
    return false;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return `${command} is not usable here: ${reason}`;
  }
}

/** Fails with e2fsck's report unless it finds nothing at all to say about the image. */
export async function checkFileSystem(path: string): Promise<void> {
  try {
    await runTool("e2fsck", "-f", "-n", path);
  } catch (error) {
    const report = error instanceof Error && "stdout" in error ? String(error.stdout) : "";
    throw new Error(`e2fsck: ${report}`, { cause: error });
  }
}
