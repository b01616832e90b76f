import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FirecrackerApi } from "./api.ts";

describe("Firecracker's API", { timeout: 10_000 }, () => {
  let folder: string;
  let server: Server;
  let connections = 0;
  let answer: (request: IncomingMessage, body: string, response: ServerResponse) => void;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-api-"));
    server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += String(chunk);
      answer(request, body, response);
    });
    server.on("connection", () => (connections += 1));
    await new Promise<void>((resolve) => server.listen(join(folder, "api"), resolve));
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });

  async function open(): Promise<FirecrackerApi> {
    const socket = connect(join(folder, "api"));
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return new FirecrackerApi(socket);
  }

  test("a request by a connection that is closed fails at once", async () => {
    const api = await open();
    api.close();
    await api.closed;
    await assert.rejects(api.put("/machine-config", {}), { code: "VM_FAILED" });
  });

  test("a limit ends the request under way and every later one, and nothing once the work is done", async () => {
    answer = (_request, _body, response) => response.writeHead(204).end();
    const done = new AbortController();
    const api = await open();
    await api.during(done.signal, () => api.put("/machine-config", {}));
    done.abort();
    await api.put("/machine-config", {});

    answer = () => undefined;
    const late = AbortSignal.timeout(50);
    const isLate = (error: unknown) => error === late.reason;
    await assert.rejects(
      api.during(late, () => api.put("/actions", {})),
      isLate,
    );
    await assert.rejects(api.put("/actions", {}), isLate);
  });

  test("all requests go by one connection", async () => {
    const seen: string[] = [];
    answer = ({ method, url }, body, response) => {
      seen.push(`${method} ${url} ${body}`);
      if (method === "GET") response.end('{"state":"Running"}');
      else response.writeHead(204).end();
    };
    const before = connections;
    const api = await open();
    await api.put("/machine-config", { vcpu_count: 2 });
    await api.patch("/vm", { state: "Paused" });
    assert.equal(await api.state(), "Running");
    assert.deepEqual(seen, [
      'PUT /machine-config {"vcpu_count":2}',
      'PATCH /vm {"state":"Paused"}',
      "GET / ",
    ]);
    assert.equal(connections - before, 1);
    api.close();
  });

  test("a refusal says what Firecracker said", async () => {
    answer = (_, __, response) => response.writeHead(400).end('{"fault_message":"no such file"}');
    const api = await open();
    await assert.rejects(api.put("/snapshot/load", {}), { code: "VM_FAILED", message: /no such file/ });
    answer = (_, __, response) => response.writeHead(500).end("<html>");
    await assert.rejects(api.put("/snapshot/load", {}), { code: "VM_FAILED", message: /status 500/ });
    api.close();
  });

  test("its end ends what was asked", async () => {
    answer = (_, __, response) => response.socket?.destroy();
    const api = await open();
    await assert.rejects(api.state(), { code: "VM_FAILED" });
    await api.closed;
  });
});
