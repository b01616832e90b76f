import type { Command } from "commander";

export function addToken(program: Command): void {
  const token = program
    .command("token")
    .summary("who may use the daemon over TCP")
    .description("Tokens let clients use the daemon over TCP. Only hashes of them are kept.")
    .addHelpText(
      "after",
      `
Examples:
  kiln token create laptop
  KILN_URL=http://server:7070 KILN_TOKEN=kiln_… kiln ls
  kiln token revoke laptop`,
    );
  token
    .command("create")
    .description("Make a token and print it. It cannot be shown again.")
    .argument("<name>", "what it is for")
    .option("--json", "print JSON")
    .action(async (name: string, flags: { json?: boolean }) =>
      (await import("../serve/token.ts")).createToken(name, flags.json ?? false),
    );
  token
    .command("ls")
    .description("List the tokens there are.")
    .option("--json", "print JSON")
    .action(async (flags: { json?: boolean }) =>
      (await import("../serve/token.ts")).listTokens(flags.json ?? false),
    );
  token
    .command("revoke")
    .description("Make a token useless, from the next request on.")
    .argument("<name>")
    .action(async (name: string) => (await import("../serve/token.ts")).revokeToken(name));
}
