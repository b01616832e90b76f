import type { Command } from "commander";
import { given, repeated, wholeNumber } from "../options.ts";

interface InitFlags {
  from?: string;
  package?: string[];
  tool?: string[];
  run?: string[];
  check?: string[];
  user?: string;
  vcpu?: number;
  memory?: number;
  output?: string;
  force?: boolean;
}

const TEMPLATE_ARGUMENT = ["<template>", "name of a template, or path of a spec file"] as const;

/** The subcommands of `kiln template` that write a first spec, and that tell what is in a built template. */
export function addTemplateContents(template: Command): void {
  template
    .command("sbom")
    .description("Print a built template's bill of materials: CycloneDX 1.6, as JSON.")
    .argument(...TEMPLATE_ARGUMENT)
    .action(async (ref: string) => (await import("../template/sbom.ts")).sbom(ref));

  template
    .command("lock")
    .description("Print the versions a built template is made of, for kiln template build --locked.")
    .argument(...TEMPLATE_ARGUMENT)
    .action(async (ref: string) => (await import("../template/sbom.ts")).lock(ref));

  template
    .command("diff")
    .description("Show what differs between two built templates: packages, files, sizes.")
    .argument("<a>", "name of a template, or path of a spec file")
    .argument("<b>", "another one")
    .option("--json", "print JSON")
    .action(async (a: string, b: string, flags: { json?: boolean }) =>
      (await import("../template/diff.ts")).diff(a, b, flags.json ?? false),
    );

  template
    .command("init")
    .description("Write a spec to begin with. On a terminal it asks for what no option says.")
    .argument("[name]", "what the template is to be called")
    .option("--from <template>", "start from this template instead of plain Debian")
    .option("--package <name>", "a Debian package; repeatable", repeated)
    .option("--tool <tool>", 'one of "node@22", "uv", "rust"; repeatable', repeated)
    .option("--run <command>", "a setup command; repeatable", repeated)
    .option("--check <command>", "a command that must succeed in the built template; repeatable", repeated)
    .option("--user <user>", "the user commands run as")
    .option("--vcpu <n>", "virtual CPUs", wholeNumber(1, 64))
    .option("--memory <MiB>", "memory", wholeNumber(128, 1_048_576))
    .option("-o, --output <file>", "where to write it; default: NAME.jsonc")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      `
Examples:
  kiln template init                                      asks
  kiln template init api --from python --package libpq-dev --run 'pip install psycopg --break-system-packages'
  kiln template build api.jsonc && kiln run api`,
    )
    .action(async (name: string | undefined, flags: InitFlags) => {
      const { init } = await import("../template/init.ts");
      await init({
        ...given({
          name,
          from: flags.from,
          packages: flags.package,
          tools: flags.tool,
          commands: flags.run,
          checks: flags.check,
          user: flags.user,
          vcpu: flags.vcpu,
          memoryMib: flags.memory,
          output: flags.output,
        }),
        force: flags.force ?? false,
      });
    });
}
