import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTemplateSpec } from "./parse-spec.ts";
import { rootfsHash, specHash } from "./spec-hash.ts";

const full = {
  name: "t",
  base_image: "docker.io/library/debian:bookworm-slim",
  apt_packages: ["git", "curl"],
  setup_commands: ["true", "false"],
  env: { A: "1", B: "2" },
  vcpu: 2,
  memory_mib: 512,
  disk_mib: 8192,
  workdir: "/workspace",
  user: "root",
  checks: ["true"],
};
const rootfs = (change: object) => rootfsHash(parseTemplateSpec({ ...full, ...change }));
const spec = (change: object) => specHash(parseTemplateSpec({ ...full, ...change }));

test("what leaves every byte of the disk alone keeps the hash of the rootfs", () => {
  const same = [
    { name: "other" },
    { vcpu: 4 },
    { memory_mib: 1024 },
    { checks: [] },
    { apt_packages: ["curl", "git", "curl"] },
    { env: { B: "2", A: "1" } },
    { base_image: "debian:bookworm-slim" },
    { $schema: "./template.schema.json" },
  ];
  for (const change of same) assert.equal(rootfs(change), rootfs({}), JSON.stringify(change));
});

test("what changes a byte of the disk changes the hash of the rootfs", () => {
  const changes = [
    { base_image: "debian:trixie" },
    { apt_packages: ["git"] },
    { apt_packages: ["git", "curl=1"] },
    { setup_commands: ["false", "true"] },
    { env: { A: "1", B: "3" } },
    { env: { A: "1" } },
    { disk_mib: 4096 },
    { workdir: "/srv" },
    { user: "dev" },
  ];
  const hashes = new Set(changes.map(rootfs));
  assert.equal(hashes.size, changes.length);
  assert(!hashes.has(rootfs({})));
});

test("the hash of the template changes with everything but its name", () => {
  assert.equal(spec({ name: "other" }), spec({}));
  const hashes = [{}, { vcpu: 4 }, { memory_mib: 1024 }, { checks: [] }, { user: "dev" }].map(spec);
  assert.equal(new Set(hashes).size, hashes.length);
});

test("the hash is a value that other programs can compute", () => {
  // sha256 over the canonical JSON (RFC 8785) of the fields that spec-hash.ts lists, taken with sha256sum.
  assert.equal(
    rootfsHash(parseTemplateSpec({ name: "t" })),
    "04fe8a3b916efa81d3fc4d27c241f38c413aed5010a2d80f0ae0047b28f067d3",
  );
});
