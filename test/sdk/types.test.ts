/** The types of the TypeScript client beside what the daemon says of itself. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import ts from "typescript";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";

const TYPES = join(import.meta.dirname, "../../packages/sdk/src/types.ts");

/** The client's name for a schema, where it is another. */
const INTERFACES: Record<string, string> = {
  Sandbox: "SandboxInfo",
  Process: "ProcessInfo",
  FileInfo: "FileInfo",
  Stats: "Stats",
  Template: "Template",
  Build: "Build",
  Info: "Info",
  DiskEntry: "DiskEntry",
  DiskUsage: "DiskUsage",
  CollectedPart: "CollectedPart",
  Collected: "Collected",
};

/** Names of an interface's fields; those that may be absent end in "?". */
function fieldsOf(declaration: ts.InterfaceDeclaration): string[] {
  return declaration.members
    .filter(ts.isPropertySignature)
    .map((member) => `${member.name.getText()}${member.questionToken ? "?" : ""}`)
    .sort();
}

const camelCase = (name: string) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

interface Schema {
  properties: Record<string, object>;
  required?: string[];
}

describe("the client's types", { timeout: 120_000 }, () => {
  let daemon: DaemonHome;
  let schemas: Record<string, Schema>;
  const interfaces = new Map<string, ts.InterfaceDeclaration>();

  before(async () => {
    daemon = await openDaemonHome();
    schemas = ((await daemon.client.openapi()) as { components: { schemas: Record<string, Schema> } })
      .components.schemas;
    const source = ts.createSourceFile(TYPES, await readFile(TYPES, "utf8"), ts.ScriptTarget.Latest, true);
    for (const statement of source.statements) {
      if (ts.isInterfaceDeclaration(statement)) interfaces.set(statement.name.text, statement);
    }
  });
  after(() => daemon[Symbol.asyncDispose]());

  for (const [schemaName, name] of Object.entries(INTERFACES)) {
    test(`${name} has the fields of the daemon's ${schemaName}`, () => {
      const schema = schemas[schemaName];
      const declaration = interfaces.get(name);
      assert.ok(schema && declaration);
      const required = new Set(schema.required ?? []);
      const described = Object.keys(schema.properties)
        .map((field) => `${camelCase(field)}${required.has(field) ? "" : "?"}`)
        .sort();
      assert.deepEqual(fieldsOf(declaration), described);
    });
  }
});
