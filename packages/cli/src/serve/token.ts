import { KilnHome } from "@kiln/host/home.ts";
import { Tokens } from "@kiln/host/server/tokens.ts";
import { printJson, printTable } from "../output/table.ts";

const tokens = () => new Tokens(KilnHome.fromEnvironment());

export async function createToken(name: string, json: boolean): Promise<void> {
  const token = await tokens().create(name);
  if (json) printJson({ name, token });
  else process.stdout.write(`${token}\n`);
}

export async function listTokens(json: boolean): Promise<void> {
  const list = await tokens().list();
  if (json) printJson(list);
  else
    printTable(
      ["name", "created"],
      list.map(({ name, created_at }) => [name, created_at]),
    );
}

export async function revokeToken(name: string): Promise<void> {
  await tokens().revoke(name);
}
