import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KilnHome } from "../../../packages/host/src/home.ts";
import type { TemplateParts } from "../../../packages/host/src/store/push.ts";
import { parseTemplateSpec } from "../../../packages/host/src/template/parse-spec.ts";
import type { TemplateSpec } from "../../../packages/host/src/template/spec.ts";
import { Random } from "../../support/random.ts";

const BLOCK = 4096;

/** Bytes that look like a disk: blocks that compress a little, and holes. */
export function makeContent(random: Random, blocks: number): Buffer {
  const content = Buffer.alloc(blocks * BLOCK);
  for (let block = 0; block < blocks; ) {
    const run = 1 + random.below(64);
    if (random.below(4) > 0) {
      const end = Math.min(block + run, blocks) * BLOCK;
      for (let at = block * BLOCK; at < end; at += 8) content.writeUInt32LE(random.below(2 ** 32), at);
    }
    block += run;
  }
  return content;
}

export interface MadeTemplate {
  spec: TemplateSpec;
  parts: TemplateParts;
  /** Content of its large files, by path relative to KILN_HOME. */
  files: Map<string, Buffer>;
}

/** Puts folders in `home` that look like a template of some MiB, without building anything. */
export async function makeTemplate(
  home: KilnHome,
  name: string,
  seed: number,
  blocks = 2048,
): Promise<MadeTemplate> {
  const random = new Random(seed);
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => random.below(16).toString(16)).join("");
  const parts: TemplateParts = {
    disk: { base: `rootfs/${hex(64)}`, layers: [] },
    kernel: `artifacts/kernel/${hex(64)}`,
    agent: undefined,
    snapshots: [`snapshots/${hex(32)}`],
  };
  const files = new Map([
    [`${parts.disk.base}/rootfs.ext4`, makeContent(random, blocks)],
    [`${parts.kernel}/vmlinuz`, makeContent(random, 100)],
    [`${parts.snapshots[0]}/memory`, makeContent(random, blocks / 2)],
  ]);
  const small = new Map([
    [`${parts.disk.base}/rootfs.json`, Buffer.from("{}")],
    [`${parts.snapshots[0]}/state`, makeContent(random, 16)],
  ]);
  for (const [path, content] of [...files, ...small]) {
    await mkdir(join(home.root, path, ".."), { recursive: true });
    await writeFile(join(home.root, path), content);
  }
  return {
    spec: parseTemplateSpec({ name, base_image: "docker.io/library/debian:bookworm-slim" }, "test"),
    parts,
    files,
  };
}
