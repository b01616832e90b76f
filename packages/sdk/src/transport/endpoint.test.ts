import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KilnHome } from "@kiln/host/home.ts";
import { resolveEndpoint } from "./endpoint.ts";

describe("resolveEndpoint", () => {
  test("finds the socket where the daemon makes it", () => {
    for (const env of [{ KILN_HOME: "/a/b" }, { XDG_DATA_HOME: "/c" }, {}, { KILN_HOME: "relative" }]) {
      const endpoint = resolveEndpoint({}, env);
      assert.equal(endpoint.kind, "local");
      assert.equal(endpoint.kind === "local" && endpoint.socketPath, KilnHome.fromEnvironment(env).socket);
    }
  });

  test("takes an address and a token from options before the environment", () => {
    const env = { KILN_URL: "http://a:1", KILN_TOKEN: "of-env", KILN_HOME: "/h" };
    assert.deepEqual(resolveEndpoint({}, env), { kind: "tcp", url: new URL("http://a:1"), token: "of-env" });
    assert.deepEqual(resolveEndpoint({ url: "https://b/prefix/", token: "own" }, env), {
      kind: "tcp",
      url: new URL("https://b/prefix/"),
      token: "own",
    });
    assert.deepEqual(resolveEndpoint({ url: "unix:/run/kiln.sock" }, {}), {
      kind: "unix",
      socketPath: "/run/kiln.sock",
    });
    assert.equal(resolveEndpoint({ home: "/mine" }, env).kind, "local", "a folder means this machine");
  });

  test("says what an address looks like", () => {
    for (const url of ["server:7070", "ftp://x", "nonsense"]) {
      assert.throws(() => resolveEndpoint({ url }, {}), { code: "USAGE" }, url);
    }
  });
});
