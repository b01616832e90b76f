import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of `command` as PATH has it, or undefined. */
export function findCommand(command: string): string | undefined {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(directory, command);
    if (directory === "") continue;
    if (isExecutable(path)) return path;
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
