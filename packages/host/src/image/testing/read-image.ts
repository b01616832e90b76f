import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../byte-string.ts";
import { runTool } from "./tools.ts";

/** An inode as debugfs of e2fsprogs, which shares no code with the writer, reads it. */
export interface ReadInode {
  inode: number;
  /** `regular`, `directory`, `symlink`, `character special`, `block special`, `FIFO`. */
  type: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  links: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  /** 512-byte sectors. */
  sectors: number;
  /** `"1:3"`, of a device. */
  device: string | undefined;
  /** Content of a file or target of a symlink. */
  content: Buffer | undefined;
  /** Names as debugfs prints them, values in full. */
  xattrs: Map<string, Buffer>;
}

/** Everything in an image by path (`/usr/bin/env`, the root is `/`); names must not have newlines. */
export async function readImage(image: string): Promise<Map<ByteString, ReadInode>> {
  const scratch = await mkdtemp(join(tmpdir(), "kiln-read-image-"));
  try {
    const paths = await walk(image, scratch);
    const numbers = [...new Set(paths.values())];
    const stats = await debugfs(
      image,
      scratch,
      numbers.map((inode) => `stat <${inode}>`),
    );
    const inodes = new Map(numbers.map((inode, i) => [inode, parseStat(inode, stats[i] ?? "")]));
    await readContents(image, scratch, [...inodes.values()]);
    return new Map([...paths].map(([path, inode]) => [path, inodes.get(inode) as ReadInode]));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Runs commands in one debugfs; what each printed. */
async function debugfs(image: string, scratch: string, commands: readonly string[]): Promise<string[]> {
  const script = join(scratch, "commands");
  await writeFile(script, commands.map((command) => `${command}\n`).join(""), "latin1");
  const output = await runTool("debugfs", "-f", script, image);
  const parts: string[] = [];
  let at = 0;
  for (const [i, command] of commands.entries()) {
    const start = output.indexOf(`debugfs: ${command}\n`, at) + `debugfs: ${command}\n`.length;
    const next = commands[i + 1];
    at = next === undefined ? output.length : output.indexOf(`debugfs: ${next}\n`, start);
    parts.push(output.slice(start, at));
  }
  return parts;
}

async function walk(image: string, scratch: string): Promise<Map<ByteString, number>> {
  const paths = new Map<ByteString, number>([["/", 2]]);
  let level: [ByteString, number][] = [["", 2]];
  while (level.length > 0) {
    const listings = await debugfs(
      image,
      scratch,
      level.map(([, inode]) => `ls -p <${inode}>`),
    );
    const below: typeof level = [];
    for (const [i, [path]] of level.entries()) {
      for (const line of (listings[i] ?? "").split("\n")) {
        const match = /^\/(\d+)\/(\d+)\/-?\d+\/-?\d+\/([^/]*)\/\d*\/$/.exec(line);
        if (match === null) continue;
        const [, inode = "", mode = "", name = ""] = match;
        if (name === "." || name === "..") continue;
        paths.set(`${path}/${name}`, Number(inode));
        if (mode.startsWith("04")) below.push([`${path}/${name}`, Number(inode)]);
      }
    }
    level = below;
  }
  return paths;
}

function parseStat(inode: number, text: string): ReadInode {
  const field = (pattern: RegExp) => pattern.exec(text)?.[1] ?? "";
  const [seconds = 0, extra = 0] = field(/mtime: 0x([0-9a-f]+:[0-9a-f]+)/)
    .split(":")
    .map((hex) => Number.parseInt(hex, 16));
  const target = /^Fast link dest: "([\s\S]*)"\n/m.exec(text)?.[1];
  return {
    inode,
    type: field(/Type: (.*?) +Mode:/),
    mode: Number.parseInt(field(/Mode: +(\d+)/), 8),
    uid: Number(field(/User: +(-?\d+)/)) >>> 0,
    gid: Number(field(/Group: +(-?\d+)/)) >>> 0,
    size: Number(field(/Size: (\d+)/)),
    links: Number(field(/Links: (\d+)/)),
    mtimeSeconds: (seconds | 0) + (extra & 3) * 2 ** 32,
    mtimeNanoseconds: extra >>> 2,
    sectors: Number(field(/Blockcount: (\d+)/)),
    device: /Device major\/minor number: 0*(\d+:)0*(\d+)/.exec(text)?.slice(1).join(""),
    content: target === undefined ? undefined : Buffer.from(target, "latin1"),
    xattrs: new Map(
      [...text.matchAll(/^ {2}((?:user|security|trusted|system)\.\S*) \((\d+)\)/gm)].map((m) => [
        m[1] ?? "",
        Buffer.alloc(0),
      ]),
    ),
  };
}

async function readContents(image: string, scratch: string, inodes: readonly ReadInode[]): Promise<void> {
  const commands: string[] = [];
  for (const { inode, type, content, xattrs } of inodes) {
    const hasContent = type === "regular" || (type === "symlink" && content === undefined);
    if (hasContent) commands.push(`dump <${inode}> ${scratch}/${inode}`);
    let i = 0;
    for (const name of xattrs.keys())
      commands.push(`ea_get -f ${scratch}/${inode}.${i++} <${inode}> ${name}`);
  }
  await debugfs(image, scratch, commands);
  for (const read of inodes) {
    const hasContent = read.type === "regular" || (read.type === "symlink" && read.content === undefined);
    if (hasContent) read.content = (await readFile(join(scratch, String(read.inode)))).subarray(0, read.size);
    let i = 0;
    for (const name of read.xattrs.keys()) {
      read.xattrs.set(name, await readFile(join(scratch, `${read.inode}.${i++}`)));
    }
  }
}
