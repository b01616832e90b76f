import { chmod, lstat, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, posix, resolve } from "node:path";
import { KilnError, systemErrorCode } from "@kiln/sdk/errors.ts";
import type { Files } from "@kiln/sdk/files.ts";
import type { FileInfo } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { extractTar } from "./extract-tar.ts";
import { packDirectory } from "./pack-directory.ts";
import { parsePlace } from "./place.ts";

/** Copies between this machine and a sandbox. @throws KilnError `USAGE` unless exactly one of both is in a sandbox. */
export async function copy(source: string, destination: string, signal: AbortSignal): Promise<void> {
  const [from, to] = [parsePlace(source), parsePlace(destination)];
  if ((from.kind === "sandbox") === (to.kind === "sandbox")) {
    throw new KilnError("USAGE", "one of both has to be in a sandbox, and one of them alone", {
      hint: "SANDBOX:PATH names a file in one",
    });
  }
  const client = openClient();
  if (from.kind === "sandbox") {
    const { files } = await client.get(from.id, { signal });
    if (to.kind === "stream") await pour(await files.readStream(from.path, { signal }), process.stdout);
    else if (to.kind === "here") await download(files, from.path, to.path, signal);
  } else if (to.kind === "sandbox") {
    const { files } = await client.get(to.id, { signal });
    if (from.kind === "stream") await files.write(to.path, process.stdin, { parents: true, signal });
    else await upload(files, from.path, to.path, signal);
  }
}

async function upload(files: Files, source: string, destination: string, signal: AbortSignal): Promise<void> {
  const found = await stat(source);
  const there = await statOrUndefined(files, destination, signal);
  const name = basename(resolve(source));
  const target = there?.type === "directory" ? posix.join(destination, name) : destination;
  if (found.isDirectory()) {
    if (there !== undefined && there.type !== "directory") {
      throw new KilnError("CONFLICT", `${destination} is there and no directory`);
    }
    await files.untar(target, packDirectory(source, signal), { signal });
    return;
  }
  await using file = await open(source);
  const mode = (found.mode & 0o777).toString(8).padStart(3, "0");
  await files.write(target, file.createReadStream({ autoClose: false }), { mode, parents: true, signal });
}

async function download(
  files: Files,
  source: string,
  destination: string,
  signal: AbortSignal,
): Promise<void> {
  const info = await files.stat(source, { signal });
  const there = await lstatOrUndefined(destination);
  const intoDirectory = there !== undefined && (await stat(destination)).isDirectory();
  const target = intoDirectory ? join(destination, nameOf(source, info)) : destination;
  if (info.type === "directory") {
    await mkdir(target, { recursive: true });
    await extractTar(await files.tar(source, { signal }), target, (text) =>
      process.stderr.write(`kiln: ${text}\n`),
    );
    return;
  }
  // Aside first: what was there before stays until all of the new one is.
  const aside = join(dirname(target), `.${basename(target)}.kiln-${process.pid}`);
  try {
    const content = await files.readStream(source, { signal });
    await using file = await open(aside, "wx", 0o600);
    for await (const chunk of content as AsyncIterable<Buffer>) await file.write(chunk);
    await chmod(aside, Number.parseInt(info.mode, 8) & 0o777);
    await rename(aside, target);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

/** The last name of a path in a guest, fit to be a name here. */
function nameOf(path: string, { name }: FileInfo): string {
  const last = posix.basename(posix.resolve("/", path)) || name;
  if (last === "" || last === "." || last === ".." || last.includes("/")) {
    throw new KilnError("USAGE", `${path} has no name of its own`, { hint: "name the destination" });
  }
  return last;
}

async function statOrUndefined(
  files: Files,
  path: string,
  signal: AbortSignal,
): Promise<FileInfo | undefined> {
  try {
    return await files.stat(path, { signal });
  } catch (error) {
    if (error instanceof KilnError && error.code === "FILE_NOT_FOUND") return undefined;
    throw error;
  }
}

async function lstatOrUndefined(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function pour(source: AsyncIterable<Buffer>, target: NodeJS.WriteStream): Promise<void> {
  let closed = false;
  target.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    closed = true;
  });
  for await (const chunk of source) {
    if (closed) return; // A reader that goes away has read enough.
    if (!target.write(chunk)) {
      await new Promise<void>((done) => {
        target.once("drain", done);
        target.once("close", done);
      });
    }
  }
}
