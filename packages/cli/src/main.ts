import { Command, CommanderError } from "commander";
import { addDoctor } from "./commands/doctor.ts";
import { addRun } from "./commands/run.ts";
import { addTemplate } from "./commands/template.ts";
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
  kiln template build ./spec.json                   build a template of your own
  kiln doctor                                       what works on this machine, and what to do

Data is kept under KILN_HOME (default: $XDG_DATA_HOME/kiln or ~/.local/share/kiln).`,
  )
  .exitOverride();

addRun(program);
addTemplate(program);
addDoctor(program);

let json = false;
program.hook("preAction", (_, command) => {
  json = command.opts().json === true;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = printError(error, json);
}
