/** Who may use the daemon: whoever can open its socket, and whoever has a token. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { kiln, startKiln } from "../support/kiln.ts";
import { leftovers } from "../support/leftovers.ts";

const ROUTES = ["/healthz", "/metrics", "/openapi.json", "/v1/info", "/v1/sandboxes", "/nothing"];
const NOBODY = 65_534;

describe("access to the daemon", { timeout: 120_000 }, () => {
  let home: string;
  let url: URL;
  let stop: () => Promise<void>;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "ka-"));
    const daemon = startKiln(["serve", "--listen", "127.0.0.1:0"], { home });
    const ended = once(daemon, "exit");
    let said = "";
    for await (const text of daemon.stderr?.setEncoding("utf8") ?? []) {
      said += text;
      if (said.includes("listening on")) break;
    }
    const address = /listening on \S+ and (http:\S+)/.exec(said)?.[1];
    assert.ok(address, said);
    url = new URL(address);
    stop = async () => {
      daemon.kill("SIGTERM");
      await ended;
    };
  });
  after(async () => {
    await stop();
    assert.deepEqual(await leftovers(home), []);
    await rm(home, { recursive: true, force: true });
  });

  const ask = (path: string, headers: Record<string, string> = {}) =>
    fetch(new URL(path, url), { headers }).then(async (response) => ({
      status: response.status,
      body: await response.text(),
    }));
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  test("TCP without a token, or with a wrong one, reaches nothing", async () => {
    const wrong = `kiln_${"A".repeat(43)}`;
    const attempts = [
      {},
      bearer(wrong),
      bearer(""),
      { "x-kiln-token": wrong },
      { authorization: "Basic a2lsbjo=" },
    ];
    for (const path of ROUTES) {
      for (const headers of attempts) {
        const { status, body } = await ask(path, headers);
        assert.equal(status, 401, `${path} ${JSON.stringify(headers)}`);
        assert.equal(JSON.parse(body).code, "UNAUTHORIZED");
        assert.match(JSON.parse(body).hint, /kiln token create/);
      }
    }
  });

  test("neither do upgrades and host names of ports", async () => {
    const paths = ["/v1/sandboxes/a/ports/80/", "/v1/sandboxes/a/ports/80", "/"];
    for (const path of paths) {
      const headers = { connection: "upgrade", upgrade: "websocket", host: "80-a.localhost" };
      const asked = request({ host: url.hostname, port: url.port, path, headers });
      const answered = once(asked, "response");
      asked.on("upgrade", () => assert.fail("upgraded"));
      asked.end();
      const [response] = await answered;
      assert.equal(response.statusCode, 401, path);
      response.resume();
    }
    assert.equal((await ask("/", { host: "80-a.localhost" })).status, 401);
  });

  test("a refusal reaches whoever is still sending a short body, and the connection goes on; a long body is told to stop", async () => {
    for (const method of ["POST", "TRACE"]) {
      const socket = connect(Number(url.port), url.hostname).setEncoding("utf8");
      const head = (length: number) =>
        `${method} /v1/sandboxes/a/processes HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
      const answer = async () => {
        let text = "";
        while (!/\r\n\r\n.*\}$/s.test(text)) text += String(await once(socket, "data"));
        return text;
      };
      socket.write(head(10));
      assert.match(await answer(), /^HTTP\/1.1 401 (?!.*connection: close)/is, method);
      socket.write(`0123456789${head(2)}`);
      assert.match(await answer(), /^HTTP\/1.1 401 /, method);
      socket.write(`{}${head(1_000_000)}`);
      assert.match(await answer(), /^HTTP\/1.1 401 .*connection: close/is, method);
      socket.destroy();
    }
  });

  test("a token lets in until it is revoked; only its hash is kept", async () => {
    const { stdout, code } = await kiln(["token", "create", "tester"], { home });
    assert.equal(code, 0);
    const token = stdout.trim();
    for (const path of ["/healthz", "/v1/sandboxes"]) {
      assert.equal((await ask(path, bearer(token))).status, 200);
      assert.equal((await ask(path, { "x-kiln-token": token })).status, 200);
    }
    const file = join(home, "tokens.json");
    assert.ok(!(await readFile(file, "utf8")).includes(token.slice(5)));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await kiln(["token", "create", "tester"], { home })).code, 1);
    assert.match((await kiln(["token", "ls"], { home })).stdout, /^tester /m);
    assert.equal((await kiln(["token", "revoke", "tester"], { home })).code, 0);
    assert.equal((await ask("/healthz", bearer(token))).status, 401);
    assert.equal((await kiln(["token", "revoke", "tester"], { home })).code, 3);
  });

  test("the socket is its user's alone", async (context) => {
    const socket = join(home, "kiln.sock");
    assert.equal((await stat(socket)).mode & 0o777, 0o600);
    if (process.geteuid?.() !== 0) {
      context.skip("only root can try it as another user");
      return;
    }
    // Everybody may enter the home here: the socket's own mode is what keeps others out.
    await chmod(home, 0o755);
    const script = `require("net").connect(${JSON.stringify(socket)}).on("connect", () => console.log("in")).on("error", (e) => console.log(e.code))`;
    const words = ["--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups", "--"];
    const { stdout } = await promisify(execFile)("setpriv", [...words, process.execPath, "-e", script], {
      cwd: "/",
    });
    assert.equal(stdout.trim(), "EACCES");
  });

  test("who says nothing, or half a request, holds nobody up", async () => {
    const idle = Array.from({ length: 50 }, (_, number) => {
      const socket = connect(Number(url.port), url.hostname);
      socket.on("error", () => undefined);
      if (number % 2 === 0) socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n");
      return socket;
    });
    await delay(100);
    const { status } = await ask("/healthz");
    assert.equal(status, 401);
    for (const socket of idle) socket.destroy();
  });
});
