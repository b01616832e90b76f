import { createHash } from "node:crypto";
import { Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import { PackageURL } from "packageurl-js";
import { VERSION } from "../../version.ts";
import type { RootfsRecord } from "../rootfs-record.ts";
import type { Package } from "./package.ts";
import type { PackagesFile } from "./packages-file.ts";
import type { Distribution } from "./parse.ts";

export interface SbomInput {
  /** The template's name. */
  name: string;
  record: RootfsRecord;
  packages: PackagesFile;
  /** Version of the kernel that sandboxes run, such as `linux-image-cloud-amd64 6.1.115-1`. */
  kernel: string | undefined;
}

/**
 * The bill of materials of a built template, as CycloneDX 1.6 in JSON: what was built (template, base image, agent, kernel)
 * and every package in it. The same build gives the same text.
 */
export function makeSbom({ name, record, packages, kernel }: SbomInput): string {
  const template = new Models.Component(Enums.ComponentType.OperatingSystem, name, {
    bomRef: `template:${name}`,
    version: record.key.slice(0, 16),
    hashes: new Models.HashDictionary([
      [Enums.HashAlgorithm["SHA-256"], record.digest.replace("sha256:", "")],
    ]),
    properties: properties({
      "kiln:rootfs": record.key,
      "kiln:base_image": record.base.name,
      "kiln:base_image_digest": record.base.digest ?? `id:${record.base.image_id}`,
      ...(record.base.made_here ? { "kiln:base_image_made_by": record.base.made_here.made_by } : {}),
      "kiln:podman": record.podman,
      ...Object.fromEntries(
        Object.entries(record.sources).map(([source, choice]) => [`kiln:source:${source}`, choice]),
      ),
    }),
  });
  const bom = new Models.Bom({
    serialNumber: serialNumber(record),
    metadata: new Models.Metadata({
      timestamp: new Date(record.built_at),
      component: template,
      tools: new Models.Tools({
        components: new Models.ComponentRepository([
          new Models.Component(Enums.ComponentType.Application, "kiln", { version: VERSION }),
        ]),
      }),
    }),
  });
  const components = [
    ...packages.packages.map((entry) => packageComponent(entry, packages.distribution ?? undefined)),
    new Models.Component(Enums.ComponentType.Application, "kiln-agent", {
      bomRef: `agent:${record.agent_key}`,
      version: record.agent_key.slice(0, 16),
    }),
    ...(kernel === undefined ? [] : [kernelComponent(kernel)]),
  ];
  for (const component of components) {
    bom.components.add(component);
    template.dependencies.add(component.bomRef);
  }
  const factory = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  return `${new Serialize.JsonSerializer(factory).serialize(bom, { sortLists: true, space: 2 })}\n`;
}

function packageComponent(entry: Package, distribution: Distribution | undefined): Models.Component {
  const purl = purlOf(entry, distribution);
  const { group, name } = splitScope(entry);
  return new Models.Component(
    entry.type === "tool" ? Enums.ComponentType.Application : Enums.ComponentType.Library,
    name,
    {
      // The same package may be in several places.
      bomRef: entry.path === undefined ? purl : `${purl}#${entry.path}`,
      ...(group === undefined ? {} : { group }),
      version: entry.version,
      purl,
      properties: properties(entry.path === undefined ? {} : { "kiln:path": entry.path }),
    },
  );
}

function kernelComponent(kernel: string): Models.Component {
  const [name = "linux", version] = kernel.split(" ");
  return new Models.Component(Enums.ComponentType.OperatingSystem, name, {
    bomRef: `kernel:${kernel.replaceAll(" ", "@")}`,
    ...(version === undefined ? {} : { version }),
    ...(version === undefined
      ? {}
      : { purl: new PackageURL("deb", "debian", name, version, undefined, undefined).toString() }),
  });
}

/** https://github.com/package-url/purl-spec */
function purlOf(entry: Package, distribution: Distribution | undefined): string {
  const { group, name } = splitScope(entry);
  const qualifiers = {
    ...(entry.arch === undefined ? {} : { arch: entry.arch }),
    ...(entry.type === "deb" && distribution?.codename ? { distro: distribution.codename } : {}),
  };
  const type = entry.type === "tool" ? "generic" : entry.type;
  const namespace = entry.type === "deb" ? (distribution?.id ?? "debian") : group;
  return new PackageURL(type, namespace, name, entry.version, qualifiers, undefined).toString();
}

/** Scope and name of `@scope/name`. */
function splitScope({ type, name }: Package): { group: string | undefined; name: string } {
  const scoped = type === "npm" ? /^(@[^/]+)\/(.+)$/.exec(name) : null;
  return scoped ? { group: scoped[1], name: scoped[2] ?? name } : { group: undefined, name };
}

function properties(entries: Record<string, string>): Models.PropertyRepository {
  return new Models.PropertyRepository(
    Object.entries(entries).map(([name, value]) => new Models.Property(name, value)),
  );
}

/** A UUID that names this build, made from it. */
function serialNumber(record: RootfsRecord): string {
  const hash = createHash("sha256").update(`${record.key} ${record.digest} ${record.built_at}`).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80; // Version 8: made of something of one's own.
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return `urn:uuid:${[hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-")}`;
}
