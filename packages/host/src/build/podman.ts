import type { Readable } from "node:stream";
import { execa, type Options } from "execa";
import { KilnError } from "../errors.ts";
import { diesWithOwner } from "../os/owned-process.ts";
import { noSpace, saysNoSpace } from "./no-space.ts";
import { makeStoreFolders, type PodmanStore } from "./podman-store.ts";
import { type LineSink, splitLines } from "./split-lines.ts";

export interface PodmanOptions {
  signal?: AbortSignal;
  /** After this many milliseconds the command is killed. */
  timeoutMs?: number;
  /** Each line of standard output and standard error as it comes. */
  onLine?: LineSink;
  /** Variables beside this process's own. */
  env?: Record<string, string>;
  /** Where podman puts its large temporary files; a work folder of the store, which is swept. */
  tmpdir?: string;
}

export interface PodmanResult {
  exitCode: number;
  stdout: string;
  /** The end of standard error, at most {@link MAX_CAPTURED} characters. */
  stderr: string;
  timedOut: boolean;
}

/** Captured output beyond this many characters is dropped: an image's inspection is far smaller. */
const MAX_CAPTURED = 4 * 1024 * 1024;
export const isRoot = process.getuid?.() === 0;

/** What puts a PID and a mount namespace around a command: when its first process dies, all others die with it. */
const NAMESPACES = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];

/**
 * Runs a command in namespaces of its own and kills it when standard input ends, which it does with the process at
 * its other end. Where a /proc of its own is refused (inside some containers) the command runs without a PID
 * namespace, and what a killed step has started may outlive it.
 */
const GUARD = `
exec 3<&0 </dev/null
if ${NAMESPACES.join(" ")} true 2>/dev/null; then set -- ${NAMESPACES.join(" ")} "$@"; fi
"$@" 3<&- & job=$!
{ read -r _ <&3; kill -KILL "$job"; } 2>/dev/null & guard=$!
wait "$job"; status=$?
kill "$guard" 2>/dev/null
exit "$status"`;

/**
 * The words that run `command` so that it and everything it starts end with this process, kill -9 included, and
 * what they had mounted is unmounted.
 *
 * Without root that takes podman's user namespace around it, and a guard: `podman unshare` becomes a process that
 * outlives the one that was started.
 */
function contained(store: PodmanStore, command: string, args: readonly string[]): [string, string[]] {
  const [enterNamespaces = "", ...flags] = NAMESPACES;
  if (isRoot) return diesWithOwner(enterNamespaces, [...flags, command, ...args]);
  const enter = [...storeFlags(store), "unshare", "bash", "-c", GUARD, "bash"];
  return diesWithOwner("podman", [...enter, command, ...args]);
}

const storeFlags = ({ root, runroot, driver }: PodmanStore) => [
  ...["--root", root, "--runroot", runroot],
  ...(driver ? ["--storage-driver", driver] : []),
];

/**
 * Runs podman on Kiln's own storage and waits for it; a non-zero exit is a result, not an error.
 *
 * @throws KilnError `CANCELLED` when the signal fires, `HOST_UNSUPPORTED` when there is no podman.
 */
export async function tryPodman(
  store: PodmanStore,
  args: readonly string[],
  options: PodmanOptions = {},
): Promise<PodmanResult> {
  await makeStoreFolders(store);
  return tryInStore(store, "podman", [...storeFlags(store), ...args], options);
}

/**
 * As {@link tryPodman}, but a non-zero exit is an `INTERNAL` error, or `DISK_FULL`: for commands that have no other
 * reason to fail.
 */
export async function runPodman(
  store: PodmanStore,
  args: readonly string[],
  options: PodmanOptions = {},
): Promise<PodmanResult> {
  const result = await tryPodman(store, args, options);
  if (result.exitCode === 0) return result;
  throw podmanError(store, args, result);
}

/** What is wrong when podman failed though it had no reason to. */
export function podmanError(
  store: PodmanStore,
  args: readonly string[],
  { exitCode, stderr }: { exitCode: number | undefined; stderr: string },
): KilnError {
  if (saysNoSpace(stderr)) return noSpace(`podman ${args[0]}: ${lastLine(stderr)}`);
  return new KilnError("INTERNAL", `podman ${args[0]} failed: ${lastLine(stderr)}`, {
    hint: "run it by hand to see more",
    details: { command: ["podman", ...storeFlags(store), ...args], exitCode },
  });
}

/** Runs any command as {@link tryPodman} runs podman; without root, in the same user namespace. */
export function tryInStore(
  store: PodmanStore,
  command: string,
  args: readonly string[],
  options: PodmanOptions = {},
): Promise<PodmanResult> {
  return runLines(command, contained(store, command, args), withRuntimeDir(store, options));
}

/** Runs podman on the storage of the user's own: for short commands that only read. */
export function tryUsersPodman(args: readonly string[], options: PodmanOptions = {}): Promise<PodmanResult> {
  return runLines("podman", diesWithOwner("podman", args), options);
}

async function runLines(
  command: string,
  [file, words]: [string, string[]],
  options: PodmanOptions,
): Promise<PodmanResult> {
  options.signal?.throwIfAborted();
  const child = execa(file, words, { ...spawnOptions(options) });
  const stdout = capture();
  const stderr = capture();
  const follow = (stream: Readable, kept: Capture, from: "stdout" | "stderr") =>
    splitLines(stream, (line) => {
      kept.add(line);
      options.onLine?.(line, from);
    });
  const lines = [follow(child.stdout, stdout, "stdout"), follow(child.stderr, stderr, "stderr")];
  const result = await child;
  await Promise.all(lines);
  failOnCancel(result.isCanceled, options.signal);
  failOnMissing(command, result);
  return {
    exitCode: result.exitCode ?? -1,
    stdout: stdout.text(),
    stderr: stderr.text(),
    timedOut: result.timedOut,
  };
}

/** Runs podman with its standard output as a stream; `done` settles when podman has ended and throws if it failed. */
export function streamPodman(
  store: PodmanStore,
  args: readonly string[],
  options: PodmanOptions = {},
): { stdout: Readable; done: Promise<void> } {
  options.signal?.throwIfAborted();
  // Podman opens /dev/stdout by name. Node gives its children sockets, which cannot be opened so; a pipe can.
  const [file, words] = contained(store, "bash", [
    ...["-c", 'set -o pipefail; "$@" | cat', "bash"],
    ...["podman", ...storeFlags(store), ...args],
  ]);
  const child = execa(file, words, { ...spawnOptions(withRuntimeDir(store, options)) });
  const stderr = capture();
  const lines = splitLines(child.stderr, stderr.add);
  const done = child.then(async (result) => {
    await lines;
    failOnCancel(result.isCanceled, options.signal);
    failOnMissing("podman", result);
    if (result.exitCode === 0) return;
    throw podmanError(store, args, { exitCode: result.exitCode, stderr: stderr.text() });
  });
  return { stdout: child.stdout, done };
}

/**
 * Without root, podman keeps one process that holds the user namespace, and names it in XDG_RUNTIME_DIR. Kiln gives it
 * a folder of its own, so that it can end that process without ending the one of the user's own containers.
 */
function withRuntimeDir({ runroot }: PodmanStore, options: PodmanOptions): PodmanOptions {
  return isRoot ? options : { ...options, env: { XDG_RUNTIME_DIR: runroot, ...options.env } };
}

/** What is common to every child: no waiting on a cancelled one, no inherited terminal. */
function spawnOptions({ signal, timeoutMs, tmpdir, env }: PodmanOptions) {
  return {
    buffer: false,
    // Says that this process is alive; nothing is ever written.
    stdin: "pipe",
    reject: false,
    stripFinalNewline: false,
    // What a build leaves is swept after it, however it ends; asking it to end first would only take longer.
    killSignal: "SIGKILL",
    ...(signal ? { cancelSignal: signal } : {}),
    ...(timeoutMs ? { timeout: timeoutMs } : {}),
    // English messages, whatever the user's language: some of them are read.
    env: { LC_ALL: "C.UTF-8", ...(tmpdir ? { TMPDIR: tmpdir } : {}), ...env },
  } as const satisfies Options;
}

interface Capture {
  add(line: string): void;
  text(): string;
}

function capture(): Capture {
  const kept: string[] = [];
  let length = 0;
  return {
    add: (line) => {
      kept.push(line);
      length += line.length + 1;
      while (length > MAX_CAPTURED) length -= (kept.shift()?.length ?? 0) + 1;
    },
    text: () => kept.join("\n"),
  };
}

export const lastLine = (text: string) => text.trimEnd().split("\n").at(-1) || "it said nothing";

/** The last three lines in one, for a reason whose last line alone says little. */
export const lastLines = (text: string) =>
  text.trimEnd().split("\n").slice(-3).join("; ") || "it said nothing";

function failOnCancel(isCanceled: boolean, signal: AbortSignal | undefined): void {
  if (isCanceled || signal?.aborted)
    throw new KilnError("CANCELLED", "the build was cancelled", { cause: signal?.reason });
}

function failOnMissing(
  command: string,
  result: { exitCode?: number | undefined; code?: string | undefined },
): void {
  // setpriv and unshare end with 127 when there is no such command, execa with ENOENT when there is no setpriv.
  if (result.exitCode !== 127 && result.code !== "ENOENT") return;
  throw new KilnError("HOST_UNSUPPORTED", `${command} is not installed`, {
    hint: `apt-get install ${command}`,
  });
}
