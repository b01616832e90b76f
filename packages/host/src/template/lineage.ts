import { KilnError } from "../errors.ts";
import type { TemplateSpec, TemplateSpecInput } from "./spec.ts";

/** The template that `spec` starts from, or undefined when it starts from a base image. */
export function parentOf(spec: TemplateSpec): TemplateSpec | undefined {
  if (spec.from !== undefined && spec.parent === undefined) {
    throw new KilnError(
      "INTERNAL",
      `the template "${spec.from}" that ${spec.name} starts from was not looked up`,
    );
  }
  return spec.parent;
}

/** The checks of the template that `spec` starts from, then its own: what was promised there holds here as well. */
export function checksOf(spec: TemplateSpec): string[] {
  const parent = parentOf(spec);
  return [...(parent ? checksOf(parent) : []), ...spec.checks];
}

/** `spec` as it is written to a file or sent to another process, which looks up what it starts from again. */
export function writtenSpec(spec: TemplateSpec): TemplateSpecInput {
  const { parent: _, base_image, ...own } = spec;
  return spec.from === undefined ? { base_image, ...own } : own;
}
