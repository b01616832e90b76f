import { Command, CommanderError } from "commander";
import { COMMANDS } from "./command-table.ts";
import { printError } from "./output/error.ts";
import { VERSION } from "./version.ts";

const program = new Command("kiln")
  .description("Turn a short description of a machine into microVMs that start in well under a second.")
  .version(VERSION)
  .enablePositionalOptions()
  .showHelpAfterError("(kiln --help shows what there is)")
  .addHelpText(
    "after",
    `
Examples:
  kiln run python -- python3 -c 'print("hello")'    run a command in a fresh sandbox
  kiln run python                                   get a shell in one
  kiln create python                                make a sandbox that stays; then: kiln exec ID -- COMMAND
  kiln ls                                           the sandboxes there are
  kiln template build ./spec.json                   build a template of your own
  kiln doctor                                       what works on this machine, and what to do

Sandboxes are kept by a daemon, which is started when it does not run. An id may be shortened to a beginning that means
one sandbox. Data is kept under KILN_HOME (default: $XDG_DATA_HOME/kiln or ~/.local/share/kiln); KILN_URL and
KILN_TOKEN name a daemon elsewhere.`,
  )
  .exitOverride();

const [asked = ""] = process.argv.slice(2);
if (asked === "__complete") {
  const { complete } = await import("./completion/complete.ts");
  process.stdout.write((await complete(process.argv.slice(3))).map((word) => `${word}\n`).join(""));
} else {
  const entry = COMMANDS.find(({ name }) => name === asked);
  for (const { load } of entry ? [entry] : COMMANDS) (await load())(program);
  let json = false;
  program.hook("preAction", (_, command) => {
    json = command.opts().json === true;
  });
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else process.exitCode = await printError(error, json);
  }
}
