import type { Command } from "commander";

const TEMPLATE_ARGUMENT = ["<template>", "name of a template, or path of a spec file"] as const;

/** The subcommands of `kiln template` that tell what is in a built template. */
export function addTemplateContents(template: Command): void {
  template
    .command("sbom")
    .description("Print a built template's bill of materials: CycloneDX 1.6, as JSON.")
    .argument(...TEMPLATE_ARGUMENT)
    .action(async (ref: string) => (await import("../template/sbom.ts")).sbom(ref));
}
