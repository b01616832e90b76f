import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Transport } from "./transport.ts";

describe("Transport", { timeout: 60_000 }, () => {
  let folder: string;
  let socketPath: string;
  let stack: AsyncDisposableStack;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-sdk-"));
    socketPath = join(folder, "kiln.sock");
    stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true }));
  });
  afterEach(() => stack.disposeAsync());

  async function serve(listener: RequestListener, where: string | number = socketPath): Promise<Server> {
    const server = createServer(listener).listen(where);
    await once(server, "listening");
    stack.defer(async () => {
      server.closeAllConnections();
      server.close();
    });
    return server;
  }

  function open({ autostart = false, command }: { autostart?: boolean; command?: string[] } = {}): Transport {
    const transport = new Transport({ kind: "local", home: folder, socketPath }, { autostart, command });
    stack.defer(async () => transport.close());
    return transport;
  }

  test("tries a GET that was cut again, and never anything else", async () => {
    const seen: string[] = [];
    await serve((request, response) => {
      seen.push(`${request.method}`);
      if (seen.length <= 2) request.socket.destroy();
      else response.end('{"fine": true}');
    });
    assert.deepEqual(await open().json("GET", "/thing"), { fine: true });
    assert.deepEqual(seen, ["GET", "GET", "GET"]);
    seen.length = 0;
    const failure = { code: "CONNECTION_LOST", request: "POST /v1/sandboxes" };
    await assert.rejects(open().json("POST", "/v1/sandboxes", { json: {} }), failure);
    await assert.rejects(open().json("DELETE", "/v1/sandboxes/a"), { code: "CONNECTION_LOST" });
    assert.deepEqual(seen, ["POST", "DELETE"]);
  });

  test("sends what could not be sent again when the daemon is back, bodies that stream included", async () => {
    const bodies: string[] = [];
    const late = setTimeout(() => {
      void serve((request, response) => {
        let body = "";
        request.setEncoding("utf8").on("data", (text: string) => {
          body += text;
        });
        request.on("end", () => {
          bodies.push(body);
          response.end("{}");
        });
      });
    }, 200);
    stack.defer(async () => clearTimeout(late));
    async function* chunks() {
      yield Buffer.from("one ");
      yield Buffer.from("two");
    }
    await Promise.all([
      open().json("POST", "/a", { json: { x: 1 } }),
      open().json("PUT", "/b", { body: chunks() }),
    ]);
    assert.deepEqual(bodies.sort(), ["one two", '{"x":1}']);
  });

  test("says which request found nobody", async () => {
    const failure = {
      code: "UNREACHABLE",
      message: /^POST \/v1\/sandboxes: .*kiln\.sock.*ENOENT/,
      request: "POST /v1/sandboxes",
    };
    await assert.rejects(open().json("POST", "/v1/sandboxes", { json: {} }), failure);
  });

  test("starts the daemon once for requests at once, and tells why it does not start", async () => {
    const starter = join(folder, "kiln");
    const log = join(folder, "log");
    const code = `require("http").createServer((q, s) => s.end('"' + q.url + '"')).listen(process.argv[1])`;
    await writeFile(
      starter,
      `#!/bin/sh
echo "$@ $KILN_HOME" >>${log}
${process.execPath} -e '${code.replaceAll("'", `'"'"'`)}' ${socketPath} </dev/null >/dev/null 2>&1 &
echo $! >${folder}/pid
until [ -e ${socketPath} ]; do sleep 0.01; done
`,
    );
    await chmod(starter, 0o755);
    const transport = open({ autostart: true, command: [starter] });
    try {
      const answers = await Promise.all(["/a", "/b", "/c"].map((path) => transport.json("GET", path)));
      assert.deepEqual(answers, ["/a", "/b", "/c"]);
      assert.equal(await readFile(log, "utf8"), `serve --background ${folder}\n`);
    } finally {
      process.kill(Number(await readFile(join(folder, "pid"), "utf8")));
    }
    await rm(socketPath, { force: true });
    await writeFile(starter, "#!/bin/sh\necho 'no room' >&2\nexit 4\n");
    const failing = open({ autostart: true, command: [starter] });
    await assert.rejects(failing.json("GET", "/a"), {
      code: "UNREACHABLE",
      message: /could not be started: no room/,
    });
    const missing = open({ autostart: true, command: [join(folder, "nothing")] });
    await assert.rejects(missing.json("GET", "/a"), { code: "UNREACHABLE", message: /ENOENT/ });
  });

  test("an abort rejects with its reason, ends the request and leaves others alone", async () => {
    const gone = Promise.withResolvers<void>();
    await serve((request, response) => {
      if (request.url === "/slow") response.once("close", () => gone.resolve());
      else setTimeout(() => response.end("1"), 100);
    });
    const transport = open();
    const abort = new AbortController();
    const slow = transport.json("POST", "/slow", { json: {}, signal: abort.signal });
    const other = transport.json("POST", "/other", { json: {} });
    setTimeout(() => abort.abort(new RangeError("enough")), 50);
    await assert.rejects(slow, { name: "RangeError", message: "enough" });
    await gone.promise;
    assert.equal(await other, 1);
    await assert.rejects(
      transport.json("GET", "/other", { signal: AbortSignal.abort(new Error("before")) }),
      /before/,
    );
  });

  test("uses a connection again, and sends the token over TCP", async () => {
    const ports = new Set<number | undefined>();
    const tokens = new Set<string | undefined>();
    const server = await serve((request, response) => {
      ports.add(request.socket.remotePort);
      tokens.add(request.headers.authorization);
      response.end(JSON.stringify(request.url));
    }, 0);
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const url = new URL(`http://127.0.0.1:${address.port}/base/`);
    const transport = new Transport({ kind: "tcp", url, token: "secret" }, { autostart: false });
    for (let count = 0; count < 3; count++) {
      assert.equal(
        await transport.json("GET", "/x", { query: { a: "ü&", b: undefined } }),
        "/base/x?a=%C3%BC%26",
      );
    }
    transport.close();
    assert.deepEqual([ports.size, [...tokens]], [1, ["Bearer secret"]]);
  });

  test("a failure of whoever makes the body is told as it is", async () => {
    await serve((request) => request.resume());
    async function* broken() {
      yield Buffer.from("some");
      throw new RangeError("no more");
    }
    await assert.rejects(open().json("PUT", "/x", { body: broken() }), { name: "RangeError" });
  });

  test("an error is told although the body was not read", async () => {
    await serve((_request, response) => {
      response.writeHead(404).end('{"code": "FILE_NOT_FOUND", "message": "no such folder"}');
    });
    async function* endless() {
      for (;;) yield Buffer.alloc(64 * 1024);
    }
    const failure = { code: "FILE_NOT_FOUND", status: 404, request: "PUT /x" };
    await assert.rejects(open().json("PUT", "/x", { body: endless() }), failure);
  });

  test("gives up a stream that is silent for too long", async () => {
    await serve((_request, response) => response.write("begun"));
    const stream = await open().send("GET", "/x", { idleTimeoutMs: 100 });
    await assert.rejects(async () => {
      for await (const _ of stream);
    });
  });
});
