import type { KilnHome } from "../../home.ts";
import { ext4Layout } from "../../image/ext4/layout.ts";
import { type ParentInode, readParentImage } from "../../image/ext4/parent-image.ts";
import type { Rootfs } from "../rootfs.ts";
import { openRootfsReader } from "../rootfs-reader.ts";
import { PACKAGE_TYPES, type Package } from "./package.ts";
import { readPackages } from "./packages-file.ts";

/** A package that two templates have in different versions, or that only one has; undefined: not at all. */
export interface PackageDifference {
  type: Package["type"];
  name: string;
  a: string | undefined;
  b: string | undefined;
}

/** A file of which kind or size differ, in bytes; undefined: there is none. Directories are not listed. */
export interface FileDifference {
  path: string;
  a: number | undefined;
  b: number | undefined;
}

export interface TemplateDifference {
  packages: PackageDifference[];
  files: FileDifference[];
  /** Bytes in use on the disk, and inodes. */
  used: { a: number; b: number };
  inodes: { a: number; b: number };
}

/** What differs between two root file systems: packages, files by kind and size, room taken. */
export async function diffRootfs(home: KilnHome, a: Rootfs, b: Rootfs): Promise<TemplateDifference> {
  const [packagesA, packagesB, filesA, filesB] = await Promise.all([
    readPackages(home, a.key),
    readPackages(home, b.key),
    listFiles(a),
    listFiles(b),
  ]);
  return {
    packages: diffPackages(packagesA.packages, packagesB.packages),
    files: diffFiles(filesA, filesB),
    used: { a: a.record.used_bytes, b: b.record.used_bytes },
    inodes: { a: a.record.inodes, b: b.record.inodes },
  };
}

/** Packages by type and name; several versions of one are written together. */
export function diffPackages(a: readonly Package[], b: readonly Package[]): PackageDifference[] {
  const [versionsA, versionsB] = [versionsOf(a), versionsOf(b)];
  const keys = [...new Set([...versionsA.keys(), ...versionsB.keys()])].sort();
  return keys.flatMap((key) => {
    const [versionA, versionB] = [versionsA.get(key), versionsB.get(key)];
    if (versionA === versionB) return [];
    const [type, name = ""] = key.split(" ");
    const known = PACKAGE_TYPES.find((candidate) => candidate === type);
    return known === undefined ? [] : [{ type: known, name, a: versionA, b: versionB }];
  });
}

function versionsOf(packages: readonly Package[]): Map<string, string> {
  const versions = new Map<string, Set<string>>();
  for (const { type, name, version } of packages) {
    const key = `${type} ${name}`;
    versions.set(key, (versions.get(key) ?? new Set()).add(version));
  }
  return new Map([...versions].map(([key, set]) => [key, [...set].sort().join(", ")]));
}

async function listFiles(rootfs: Rootfs): Promise<ReadonlyMap<string, ParentInode>> {
  using reader = await openRootfsReader(rootfs);
  return readParentImage(reader.blocks, ext4Layout(rootfs.sizeBytes)).inodes;
}

function diffFiles(
  a: ReadonlyMap<string, ParentInode>,
  b: ReadonlyMap<string, ParentInode>,
): FileDifference[] {
  const differences: FileDifference[] = [];
  for (const path of [...new Set([...a.keys(), ...b.keys()])].sort()) {
    const [inA, inB] = [a.get(path), b.get(path)];
    if (inA?.kind === "directory" || inB?.kind === "directory") continue;
    if (inA?.kind === inB?.kind && inA?.size === inB?.size) continue;
    differences.push({ path: Buffer.from(path, "latin1").toString("utf8"), a: inA?.size, b: inB?.size });
  }
  return differences;
}
