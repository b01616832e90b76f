import assert from "node:assert/strict";
import { test } from "node:test";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import type { RootfsRecord } from "../rootfs-record.ts";
import { makeSbom } from "./sbom.ts";

const HASH = "ab".repeat(32);
const record: RootfsRecord = {
  version: 1,
  kiln: "0.1.0",
  key: HASH,
  parent: null,
  spec: { name: "t" },
  base: { name: "docker.io/library/debian:bookworm-slim", image_id: HASH, digest: null, made_here: null },
  sources: { node: "npm 123" },
  image_id: HASH,
  agent_key: HASH,
  podman: "4.3.1",
  isolation: "chroot",
  size_bytes: 1,
  used_bytes: 1,
  inodes: 1,
  digest: `sha256:${HASH}`,
  built_at: "2026-01-01T00:00:00.000Z",
  build_ms: 1,
  export_ms: 1,
};

test("is valid CycloneDX 1.6, the same for the same build, with a package URL for each package", async () => {
  const input = {
    name: "t",
    record,
    kernel: "linux-image-cloud-amd64 6.1.1-1",
    packages: {
      version: 1 as const,
      distribution: { id: "debian", codename: "bookworm" },
      packages: [
        { type: "deb" as const, name: "libstdc++6", version: "1:12.2.0-14", arch: "amd64" },
        { type: "npm" as const, name: "@scope/name", version: "1.0.0", path: "/a" },
        { type: "npm" as const, name: "@scope/name", version: "1.0.0", path: "/b" },
        { type: "pypi" as const, name: "uv", version: "0.9.1", path: "/c" },
        { type: "tool" as const, name: "node", version: "22.23.3" },
      ],
    },
  };
  const text = makeSbom(input);
  assert.equal(makeSbom(input), text);
  assert.equal(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text), null);
  const { components } = JSON.parse(text) as { components: { purl?: string; "bom-ref": string }[] };
  assert.deepEqual(
    components
      .map(({ purl }) => purl)
      .filter((purl) => purl !== undefined)
      .sort(),
    [
      "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14?arch=amd64&distro=bookworm",
      "pkg:deb/debian/linux-image-cloud-amd64@6.1.1-1",
      "pkg:generic/node@22.23.3",
      "pkg:npm/%40scope/name@1.0.0",
      "pkg:npm/%40scope/name@1.0.0",
      "pkg:pypi/uv@0.9.1",
    ],
  );
});
