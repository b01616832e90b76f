/**
 * Command words that make `command` die with the process that starts it, however that one ends (kill -9
 * included): setpriv(1) of util-linux, which every Debian and Ubuntu has, sets the parent-death signal and then
 * becomes the command. The signal is tied to the thread that spawns: call from the main thread.
 */
export function diesWithOwner(command: string, args: readonly string[]): [string, string[]] {
  return ["setpriv", ["--pdeathsig", "KILL", "--", command, ...args]];
}
