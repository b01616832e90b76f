import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";

/** The path of `command` as PATH has it, or undefined. */
export async function findCommand(command: string): Promise<string | undefined> {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(directory, command);
    if (directory === "") continue;
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return undefined;
}
