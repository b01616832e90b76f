import type { TemplateSpec } from "../template/spec.ts";

/**
 * What a build may take on the disk at most, as far as a spec can tell, in MiB. The parts are generous: a build that is
 * refused has cost nothing, one that fills the disk has. What setup commands download nobody knows; `watchSpace` is for that.
 */
export interface SpaceEstimate {
  /** What all templates share: base image, kernel, agent, and the images those are built in. */
  shared: number;
  /** Layers in podman's storage. */
  image: number;
  /** The root file systems. */
  rootfs: number;
  /** Memory, device state and disk layer. */
  snapshot: number;
}

/** Measured: 0.9 GiB with Debian 12. */
const SHARED_MIB = 1536;
/** What of a base image is in a rootfs. */
const BASE_MIB = 256;
/** Debian packages with those they bring along: so much in any case, and each so much (`python` has 47 each). */
const PACKAGES_MIB = 256;
const PACKAGE_MIB = 64;
const TOOL_MIB = 256;
const COMMAND_MIB = 64;
/** Device state, and what booting and the checks write to the disk. */
const SNAPSHOT_MIB = 64;

/** What is there already, and what is to be built. */
export interface SpaceSubject {
  /** Whether kernel and agent are there, and so the image they were built in. */
  hasShared: boolean;
  /** Those that have no rootfs yet, the one that the others start from first. */
  unbuilt: readonly TemplateSpec[];
  /** What the rootfs below those has used, in MiB; undefined when they start from a base image. */
  belowMib: number | undefined;
  memoryMib: number;
}

export function estimateSpace({ hasShared, unbuilt, belowMib, memoryMib }: SpaceSubject): SpaceEstimate {
  const shared = hasShared ? 0 : SHARED_MIB;
  let image = 0;
  let rootfs = 0;
  let below = belowMib ?? BASE_MIB;
  for (const spec of unbuilt) {
    const own = sum(stepsOf(spec));
    // A layer that is kept is there three times for a moment: as the container's files, as an archive, as a layer.
    image += own + 2 * Math.max(0, ...stepsOf(spec));
    // With its parent's disk size it is a layer on that, else it has everything once more.
    const isLayer = spec.parent !== undefined && spec.parent.disk_mib === spec.disk_mib;
    rootfs += Math.min(isLayer ? own : below + own, spec.disk_mib);
    below += own;
  }
  return { shared, image, rootfs, snapshot: memoryMib + SNAPSHOT_MIB };
}

/** What each step may add, in MiB. */
function stepsOf({ apt_packages, tools, setup_commands }: TemplateSpec): number[] {
  const packages = apt_packages.length === 0 ? 0 : PACKAGES_MIB + apt_packages.length * PACKAGE_MIB;
  return [packages, ...tools.map(() => TOOL_MIB), ...setup_commands.map(() => COMMAND_MIB)];
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export const totalMib = ({ shared, image, rootfs, snapshot }: SpaceEstimate): number =>
  shared + image + rootfs + snapshot;
