import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { checksOf, parentOf } from "./lineage.ts";
import type { TemplateSpec } from "./spec.ts";

/** SHA-256, in hex, of `value` in canonical JSON (RFC 8785). */
export function canonicalHash(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError("value has no JSON form");
  return createHash("sha256").update(text).digest("hex");
}

/** What a spec says about the bytes of the root file system, and nothing else. */
function rootfsPart(spec: TemplateSpec): object {
  const { base_image, apt_packages, tools, setup_commands, env, workdir, user, disk_mib, as_of, lock } = spec;
  const parent = parentOf(spec);
  return {
    format: 1,
    base_image,
    apt_packages,
    ...(tools.length === 0 ? {} : { tools }),
    setup_commands,
    env,
    workdir,
    user,
    disk_mib,
    ...(as_of === undefined ? {} : { as_of }),
    ...(lock === undefined ? {} : { lock }),
    ...(parent === undefined ? {} : { parent: rootfsHash(parent) }),
  };
}

/** Identifies what `spec` puts on the disk: changes with every field that changes a byte of it, and with no other. */
export function rootfsHash(spec: TemplateSpec): string {
  return canonicalHash(rootfsPart(spec));
}

/** Identifies the whole template but for its name: two specs with one hash are the same machine. */
export function specHash(spec: TemplateSpec): string {
  const { vcpu, memory_mib } = spec;
  return canonicalHash({ ...rootfsPart(spec), vcpu, memory_mib, checks: checksOf(spec) });
}
