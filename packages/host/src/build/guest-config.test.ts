import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTemplateSpec } from "../template/parse-spec.ts";
import { guestConfig } from "./guest-config.ts";

test("the spec's variables win over the image's, and control characters are escaped", () => {
  const spec = parseTemplateSpec({ name: "t", env: { B: "spec", C: "a\\n\n\r\u0001=" }, user: "dev" });
  const env: [string, string][] = [
    ["PATH", "/bin"],
    ["B", "image"],
  ];
  const image = { id: "", digest: undefined, env, workdir: "/", user: "root", labels: {} };
  assert.equal(
    guestConfig(spec, image),
    ["workdir /workspace", "user dev", "env B=spec", "env C=a\\\\n\\n\\r\\x01=", "env PATH=/bin", ""].join(
      "\n",
    ),
  );
});
