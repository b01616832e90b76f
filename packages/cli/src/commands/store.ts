import type { Command } from "commander";
import { given } from "../options.ts";
import { Signals } from "../signals.ts";

const JSON_OPTION = ["--json", "print JSON"] as const;

export function addStore(program: Command): void {
  const store = program
    .command("store")
    .summary("share templates between nodes")
    .description(
      "The template store: a folder, MinIO or any S3, in which nodes share what was built. The field `store` of " +
        "config.json in KILN_HOME says which a node uses; docs/store.md lists its fields.",
    )
    .addHelpText(
      "after",
      `
Examples:
  kiln store push python                bring a template that is built here to the store
  kiln store ls
  kiln store pull python                fetch it on another node; kiln run python does so by itself
  kiln store verify                     read everything and check it`,
    );

  store
    .command("ls")
    .description("List the templates in the store.")
    .option("--sandboxes", "list the sandboxes that were handed over instead")
    .option(...JSON_OPTION)
    .action(async ({ sandboxes = false, json = false }: { sandboxes?: boolean; json?: boolean }) => {
      const { list, listHandedOver } = await import("../store/store.ts");
      await (sandboxes ? listHandedOver : list)(json);
    });

  store
    .command("push")
    .description(
      "Bring a template that is built here to the store. What the store has already is not sent again.",
    )
    .argument("<template>", "name of a template, or path of a spec file")
    .option("--key <file>", "sign it with this key")
    .option(...JSON_OPTION)
    .action(async (name: string, flags: { key?: string; json?: boolean }) => {
      const signals = new Signals();
      const { push } = await import("../store/store.ts");
      await push(name, { ...given({ key: flags.key }), json: flags.json ?? false }, signals.cancelled);
    });

  store
    .command("pull")
    .description("Fetch all of a template. One that was cut off goes on where it was.")
    .argument("<template>", "name, or name@sha256:…")
    .option(...JSON_OPTION)
    .action(async (name: string, flags: { json?: boolean }) => {
      const signals = new Signals();
      const { pull } = await import("../store/store.ts");
      await pull(name, { json: flags.json ?? false }, signals.cancelled);
    });

  store
    .command("verify")
    .description(
      "Read everything that the store's templates need and check it. Exit code 8 when something is damaged.",
    )
    .option(...JSON_OPTION)
    .action(async (flags: { json?: boolean }) => {
      const signals = new Signals();
      await (await import("../store/store.ts")).verify(flags.json ?? false, signals.cancelled);
    });

  store
    .command("gc")
    .description("Remove what no template in the store needs: versions after a week, the rest after a day.")
    .option("--all", "at once, whatever its age")
    .option("--dry-run", "only say what would be removed")
    .option(...JSON_OPTION)
    .action(async (flags: { all?: boolean; dryRun?: boolean; json?: boolean }) => {
      const signals = new Signals();
      const { collectGarbage } = await import("../store/store.ts");
      const { all = false, dryRun = false, json = false } = flags;
      await collectGarbage({ all, dryRun, json }, signals.cancelled);
    });

  store
    .command("keygen")
    .description(
      "Make a key to sign with, and print its public part for the store.trusted_keys of other nodes.",
    )
    .argument("<file>", "where the secret part goes")
    .action(async (path: string) => (await import("../store/store.ts")).makeKey(path));
}
