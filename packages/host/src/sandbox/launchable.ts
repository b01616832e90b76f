import { relative } from "node:path";
import type { KilnHome } from "../home.ts";
import type { Bootable } from "./sandbox.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import type { SavedTemplate } from "./saved-template.ts";

/** All it takes to start sandboxes: memory to go on from and a disk to go on with. Paths are below KILN_HOME. */
export interface Launchable {
  template: string;
  vcpu: number;
  memoryMib: number;
  env: Record<string, string>;
  engine: string;
  kernel: SandboxRecord["kernel"];
  source: SandboxRecord["source"];
  base: string;
  sizeBytes: number;
  layers: string[];
}

export function fromBootable(home: KilnHome, template: string, bootable: Bootable): Launchable {
  const { rootfs, kernel, snapshot, vmm } = bootable;
  const name = (path: string) => relative(home.root, path);
  return {
    template,
    vcpu: snapshot.manifest.subject.vcpu,
    memoryMib: snapshot.manifest.subject.memoryMib,
    env: {},
    engine: vmm.engine,
    kernel: { vmlinuz: name(kernel.vmlinuz), initrd: name(kernel.initrd) },
    source: { folder: name(snapshot.directory), generation: snapshot.manifest.generation },
    base: name(rootfs.path),
    sizeBytes: rootfs.sizeBytes,
    layers: [...rootfs.layers, snapshot.diskLayer].map(name),
  };
}

export function fromSavedTemplate({
  format: _,
  from: __,
  createdAt: ___,
  name,
  ...rest
}: SavedTemplate): Launchable {
  return { ...rest, template: name };
}
