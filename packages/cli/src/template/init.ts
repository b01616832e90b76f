import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { KilnError, systemErrorCode } from "@kiln/host/errors.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { parseJsonWithComments } from "@kiln/host/template/json-with-comments.ts";
import { completeSpec, listTemplates } from "@kiln/host/template/templates.ts";
import { commentedSpec, type NewSpec } from "./commented-spec.ts";

export interface InitRequest extends Partial<NewSpec> {
  /** @default NAME.jsonc */
  output?: string;
  force: boolean;
}

/** Writes a spec to begin with, after asking for what was not said where there is somebody to ask. */
export async function init(request: InitRequest): Promise<void> {
  const { output, force, ...said } = request;
  const home = KilnHome.fromEnvironment();
  const isBare = Object.keys(said).every((field) => field === "name");
  const asked = process.stdin.isTTY && isBare ? await ask(home, said) : said;
  const { name } = asked;
  if (name === undefined) {
    throw new KilnError("USAGE", "the template needs a name", { hint: "kiln template init NAME" });
  }
  const text = commentedSpec({ ...asked, name });
  const path = output ?? `${name}.jsonc`;
  // A mistake in what was said is better told of now than at the build.
  await completeSpec(home, await parseJsonWithComments(text, path), "what you said");
  try {
    await writeFile(path, text, { flag: force ? "w" : "wx" });
  } catch (cause) {
    if (systemErrorCode(cause) !== "EEXIST") throw cause;
    throw new KilnError("USAGE", `${path} is there already`, {
      hint: "choose another --output, or --force to replace it",
      cause,
    });
  }
  const argument = path.includes("/") ? path : `./${path}`;
  process.stdout.write(`wrote ${path}; next: kiln template build ${argument} && kiln run ${name}\n`);
}

async function ask(home: KilnHome, { name }: Partial<NewSpec>): Promise<Partial<NewSpec>> {
  using terminal = createInterface({ input: process.stdin, output: process.stderr });
  const question = async (text: string) => (await terminal.question(`${text} `)).trim();
  const words = async (text: string) => (await question(text)).split(/[\s,]+/).filter((word) => word !== "");
  const templates = (await listTemplates(home)).map((entry) => entry.name).join(", ");
  const newName = name ?? (await question("Name:"));
  const from = await question(`Start from (${templates}; nothing for plain Debian):`);
  const packages = await words("Debian packages:");
  const tools = await words("Tools (node@22, uv, rust):");
  const commands: string[] = [];
  for (;;) {
    const command = await question("Setup command (nothing to end):");
    if (command === "") break;
    commands.push(command);
  }
  const memory = await question("Memory in MiB (nothing for the usual):");
  return {
    name: newName,
    packages,
    tools,
    commands,
    ...(from === "" ? {} : { from }),
    ...(/^\d+$/.test(memory) ? { memoryMib: Number(memory) } : {}),
  };
}
