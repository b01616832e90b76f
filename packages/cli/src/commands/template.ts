import type { EngineChoice } from "@kiln/sdk/types.ts";
import type { Command } from "commander";
import { duration, ENGINE_OPTION, given, wholeNumber } from "../options.ts";
import { Signals } from "../signals.ts";
import { addTemplateContents } from "./template-contents.ts";

const JSON_OPTION = ["--json", "print JSON"] as const;
const TEMPLATE_ARGUMENT = ["<template>", "name of a template, or path of a spec file"] as const;

interface BuildFlags {
  vcpu?: number;
  memory?: number;
  engine?: EngineChoice;
  json?: boolean;
  detach?: boolean;
  locked?: string;
  refresh?: boolean;
  stepTimeout?: number;
}

export function addTemplate(program: Command): void {
  const template = program
    .command("template")
    .summary("build, list and look at templates")
    .description("Templates: descriptions of machines, and what was built from them.")
    .addHelpText(
      "after",
      `
Examples:
  kiln template build python            build a built-in template ahead of its first use
  kiln template build ./spec.json       build a template of your own; then: kiln run NAME
  kiln template ls
  kiln template containerfile python    see what Podman is given`,
    );

  template
    .command("build")
    .description(
      "Build a template: its image, root file system and snapshot. A template that is built already costs nothing. " +
        "Ctrl-C cancels the build.",
    )
    .argument(...TEMPLATE_ARGUMENT)
    .option("--vcpu <n>", "make the snapshot for this many virtual CPUs", wholeNumber(1, 64))
    .option("--memory <MiB>", "make the snapshot for this much memory", wholeNumber(128, 1_048_576))
    .option(...ENGINE_OPTION)
    .option("--locked <lock.json>", "of the versions that kiln template lock has printed, or not at all")
    .option("--refresh", "look for newer versions of everything; what is kept is a template of your own")
    .option(
      "--step-timeout <duration>",
      "how long one step may take, such as 90m (default: the daemon's build_step_timeout_s)",
      duration,
    )
    .option("-d, --detach", "print the build's id as soon as it has begun, and leave it to the daemon")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      `
Examples:
  kiln template build python
  kiln template build --memory 2048 ./spec.json
  kiln template build --step-timeout 3h ./spec.json
  kiln template lock api > api.lock.json && kiln template build --locked api.lock.json ./api.jsonc
  kiln template build --refresh api

Exit codes: 2 bad spec, 5 a step or a check failed, 6 no room on the disk, 7 the VM failed, 9 the base image cannot be had,
10 a step took too long, 11 the build or the daemon under it was ended, 130 cancelled.`,
    )
    .action(async (ref: string, flags: BuildFlags) => {
      const signals = new Signals();
      const { buildTemplate } = await import("../template/build.ts");
      await buildTemplate(
        {
          ref,
          ...given({
            vcpu: flags.vcpu,
            memoryMib: flags.memory,
            engine: flags.engine,
            locked: flags.locked,
            stepTimeoutS: flags.stepTimeout === undefined ? undefined : Math.ceil(flags.stepTimeout / 1000),
          }),
          refresh: flags.refresh ?? false,
          json: flags.json ?? false,
          detach: flags.detach ?? false,
        },
        signals.cancelled,
      );
    });

  template
    .command("ls")
    .description("List the templates there are.")
    .option(...JSON_OPTION)
    .action(async (flags: { json?: boolean }) =>
      (await import("../template/list.ts")).list(flags.json ?? false),
    );

  template
    .command("inspect")
    .description("Show a template's spec and what was built from it, as JSON.")
    .argument(...TEMPLATE_ARGUMENT)
    .option(...JSON_OPTION)
    .action(async (ref: string) => (await import("../template/inspect.ts")).inspect(ref));

  template
    .command("rm")
    .description(
      "Remove what was built from templates, as far as no other template uses it, and templates of your own.",
    )
    .argument("<template...>", "names of templates, or paths of the spec files they were made of")
    .option(...JSON_OPTION)
    .action(async (names: string[], flags: { json?: boolean }) =>
      (await import("../template/remove.ts")).remove(names, flags.json ?? false),
    );

  template
    .command("containerfile")
    .description("Print the Containerfile generated from a template's spec.")
    .argument(...TEMPLATE_ARGUMENT)
    .action(async (ref: string) => (await import("../template/inspect.ts")).containerfile(ref));

  template
    .command("hash")
    .description("Print the hash of a template's spec: the same machine has the same hash.")
    .argument(...TEMPLATE_ARGUMENT)
    .option(...JSON_OPTION)
    .action(async (ref: string, flags: { json?: boolean }) =>
      (await import("../template/inspect.ts")).hash(ref, flags.json ?? false),
    );

  addTemplateContents(template);
}
