import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";

/** What OpenAPI cannot say: connections that become something else, and a host name. */
const BEYOND_OPENAPI = new Set(["GET /openapi.json"]);

interface Document {
  openapi: string;
  paths: Record<string, Record<string, { responses: Record<string, object> }>>;
  components: { schemas: Record<string, object> };
}

describe("the daemon's description of itself", { timeout: 120_000 }, () => {
  let daemon: DaemonHome;
  let document: Document;

  before(async () => {
    daemon = await openDaemonHome();
    document = (await daemon.client.openapi()) as Document;
  });
  after(() => daemon[Symbol.asyncDispose]());

  test("is valid OpenAPI 3.1", async () => {
    assert.match(document.openapi, /^3\.1\./);
    const { valid, errors } = await new Validator().validate(
      structuredClone(document) as unknown as Record<string, unknown>,
    );
    assert.ok(valid, JSON.stringify(errors, undefined, 2));
  });

  test("refers to nothing that is not there, and has nothing that is not used", () => {
    const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)];
    const used = new Set(names.map(([, name]) => name));
    assert.deepEqual([...used].sort(), Object.keys(document.components.schemas).sort());
  });

  test("has every route that docs/api.md has, and no other", async () => {
    const text = await readFile(join(import.meta.dirname, "../../docs/api.md"), "utf8");
    const rows = text.split("\n").filter((line) => /^\| `[A-Z]+ \//.test(line));
    const shape = (path: string) => path.replace(/\{[^}]+\}|\b[A-Z]{2,}\b/g, "*").replace(/\?.*$/, "");
    const told = new Set<string>();
    for (const row of rows) {
      const [, cell = ""] = row.split("|");
      for (const [, method, path = ""] of cell.matchAll(/`([A-Z]+) (\/[^` ]*)`/g)) {
        const route = `${method} ${shape(path)}`;
        if (!BEYOND_OPENAPI.has(route) && method !== "ANY" && !cell.includes("Upgrade")) told.add(route);
      }
    }
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      path.includes("/ports/")
        ? []
        : Object.keys(methods).map((method) => `${method.toUpperCase()} ${shape(path)}`),
    );
    assert.deepEqual([...told].sort(), described.sort());
  });

  test("every answer that is no success is an error of the one form", () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(methods)) {
        for (const status of ["4XX", "5XX"]) {
          assert.match(
            JSON.stringify(responses[status] ?? {}),
            /schemas\/Error"/,
            `${method} ${path} ${status}`,
          );
        }
      }
    }
  });
});
