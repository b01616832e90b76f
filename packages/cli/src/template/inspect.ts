import { knownSources } from "@kiln/host/build/sources/known-sources.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { findBuilt } from "@kiln/host/sandbox/built-template.ts";
import { generateContainerfile } from "@kiln/host/template/containerfile.ts";
import { writtenSpec } from "@kiln/host/template/lineage.ts";
import { SOURCE_PROFILES } from "@kiln/host/template/sources.ts";
import { rootfsHash, specHash } from "@kiln/host/template/spec-hash.ts";
import { resolveTemplate } from "@kiln/host/template/templates.ts";
import { printJson } from "../output/table.ts";

export async function inspect(ref: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const spec = await resolveTemplate(home, ref);
  const built = await findBuilt(home, spec);
  printJson({
    name: spec.name,
    hash: specHash(spec),
    rootfsHash: rootfsHash(spec),
    spec: writtenSpec(spec),
    rootfs: built ? { path: built.rootfs.path, ...built.rootfs.record } : null,
    snapshots: (built?.snapshots ?? []).map((manifest) => ({
      path: home.snapshot(manifest.key),
      ...manifest,
    })),
  });
}

export async function containerfile(ref: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const sources = (await knownSources(home)) ?? SOURCE_PROFILES.upstream;
  const { text, buildArgs } = generateContainerfile(await resolveTemplate(home, ref), sources);
  process.stdout.write(text);
  for (const [name, value] of Object.entries(buildArgs)) {
    process.stdout.write(`# given to podman build: --build-arg ${name}=${JSON.stringify(value)}\n`);
  }
}

export async function hash(ref: string, json: boolean): Promise<void> {
  const spec = await resolveTemplate(KilnHome.fromEnvironment(), ref);
  if (json) printJson({ name: spec.name, hash: specHash(spec), rootfsHash: rootfsHash(spec) });
  else process.stdout.write(`${specHash(spec)}\n`);
}
