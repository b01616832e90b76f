import assert from "node:assert/strict";
import { test } from "node:test";
import { IMAGE_REFERENCE, normaliseImageReference } from "./image-reference.ts";

test("names of images in their full form", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const cases: [string, string][] = [
    ["debian", "docker.io/library/debian:latest"],
    ["debian:12", "docker.io/library/debian:12"],
    ["docker.io/debian", "docker.io/library/debian:latest"],
    ["someone/thing", "docker.io/someone/thing:latest"],
    ["localhost/mine:1", "localhost/mine:1"],
    ["host:5000/mine", "host:5000/mine:latest"],
    ["ghcr.io/a/b-c/d__e:1.2", "ghcr.io/a/b-c/d__e:1.2"],
    [`debian:12@${digest}`, `docker.io/library/debian:12@${digest}`],
  ];
  for (const [written, full] of cases) {
    assert(IMAGE_REFERENCE.test(written), written);
    assert.equal(normaliseImageReference(written), full);
    assert.equal(normaliseImageReference(full), full);
  }
});

test("what is no image name", () => {
  for (const text of [
    "",
    " debian",
    "debian\n",
    "a b",
    "a:b:c",
    "UPPER",
    "a//b",
    "-a",
    "$x",
    "a@sha256:12",
    "a AS b",
  ]) {
    assert(!IMAGE_REFERENCE.test(text), JSON.stringify(text));
  }
});
