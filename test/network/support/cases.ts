/** What guests reach of the world, and what not. Run by network.test.ts. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { NetworkService } from "@kiln/host/network/network-service.ts";
import type { NetworkPolicy } from "@kiln/host/network/policy/schema.ts";
import { openTestHome } from "../../support/home.ts";
import { TestMachines } from "../../vm/support/machine.ts";
import { Guest } from "./guest.ts";
import { HOST_SIDE, INTERNAL, OTHER, WORLD } from "./world-namespace.ts";

const BIG = 100_000_000;

describe("the network of a VM", { timeout: 540_000 }, () => {
  const resources = new AsyncDisposableStack();
  let machines: TestMachines;
  let networks: NetworkService;
  /** Something that listens on all of this host's addresses. */
  let listener: Server;
  let port: number;

  const start = (policy: NetworkPolicy) => Guest.start(machines, networks, policy);

  before(async () => {
    const home = resources.use(await openTestHome());
    machines = resources.use(await TestMachines.open(home));
    networks = resources.use(new NetworkService(join(machines.directory, "net")));
    listener = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.end("the host\n");
    });
    await once(listener.listen(0, "0.0.0.0"), "listening");
    const address = listener.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
    resources.defer(() => void listener.close());
  });
  after(() => resources.disposeAsync());

  test("full: names, downloads, half-closed connections, datagrams, many at once", async (context) => {
    await using guest = await start("full");
    assert.equal(
      await guest.python(`print(talk("example.test", 7, b"x" * 1000000) == b"x" * 1000000)`),
      "True",
    );
    const download = await guest.run([
      ...["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download} %{time_total}"],
      `http://example.test/big?bytes=${BIG}`,
    ]);
    const [size, seconds] = download.split(" ").map(Number);
    assert.equal(size, BIG);
    context.diagnostic(`100 MB in ${seconds} s: ${(BIG / 1e6 / (seconds ?? 0)).toFixed(0)} MB/s`);
    const content = await guest.python(`
import hashlib, urllib.request
body = urllib.request.urlopen("http://example.test/big?bytes=5000000").read()
print(body == (b"0123456789abcdef" * 312500))`);
    assert.equal(content, "True");
    const upload = await guest.python(`
began = time.time()
print(talk("${WORLD}", 9, b"y" * 20000000, 60).decode().strip(), "%.1f" % (time.time() - began))`);
    assert.match(upload, /^20000000 /);
    context.diagnostic(`20 MB to a side that waits 2 s before it takes any: ${upload.split(" ")[1]} s`);
    const late = await guest.python(`
s = socket.create_connection(("${WORLD}", 13))
time.sleep(2)
print(len(s.recv(10)))
s.settimeout(20)
n = 10
while True:
    part = s.recv(100000)
    n += len(part)
    if not part: break
print(n)`);
    assert.equal(late, "10\n1048576");
    const datagrams = await guest.python(`
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
s.connect(("${WORLD}", 7))
for size in (0, 1, 1400, 15000):
    s.send(b"z" * size); print(len(s.recv(65536)))
s.connect(("${WORLD}", 8)); s.send(b"?")
try: s.recv(10); print("an answer")
except ConnectionRefusedError: print("refused")`);
    assert.equal(datagrams, "0\n1\n1400\n15000\nrefused");
    const many = await guest.python(`
results = []
def one(i):
    data = b"%d" % i * 1000
    results.append(talk("${WORLD}", 7, data, 60) == data)
threads = [threading.Thread(target=one, args=(i,)) for i in range(200)]
[t.start() for t in threads]; [t.join() for t in threads]
print(results.count(True))`);
    assert.equal(many, "200");
    const refused = await guest.python(`
print(probe("${WORLD}", 81), probe("10.0.2.3", 54), probe("nosuch.test", 80))`);
    assert.equal(refused, "ECONNREFUSED EHOSTUNREACH no name");
    const { connections } = await guest.stats();
    assert.equal(connections, 0, "connections are left");
  });

  test("full: nothing of the host, nothing private, nothing that is no address", async () => {
    await using guest = await start("full");
    const targets = [
      ["10.0.2.2", port],
      ["10.0.2.2", 22],
      [HOST_SIDE, port],
      [INTERNAL, 7],
      ["169.254.169.254", 80],
      ["169.254.1.1", 80],
      ["192.168.1.1", 80],
      ["100.64.0.1", 80],
      ["0.0.0.0", port],
      ["224.0.0.1", 80],
    ] as const;
    const script = targets.map(([address, number]) => `print(probe("${address}", ${number}))`).join("\n");
    const results = (await guest.python(script)).split("\n");
    for (const [index, [address, number]] of targets.entries())
      assert.notEqual(results[index], "open", `${address}:${number}`);
    // Names that lead there are not known at all.
    const names = await guest.python(`print(probe("rebind.test", 7), probe("loop.test", ${port}))`);
    assert.equal(names, "no name no name");
    const six = await guest.python(`
try:
    socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)); print("open")
except OSError as e: print(errno.errorcode[e.errno])`);
    assert.match(six, /^(ENETUNREACH|EADDRNOTAVAIL|EHOSTUNREACH)$/);
    const { refused, refusals } = await guest.stats();
    assert.ok(refused >= 8, `${refused} refusals`);
    assert.ok(refusals.some(({ target, why }) => target === "169.254.169.254:80" && why === "host"));
  });

  test("allow: what is listed, and nothing else", async () => {
    await using guest = await start({
      allow: ["example.test", "*.other.test", "named.test", `${INTERNAL}:7`],
    });
    // By address before its name was asked for, by name, and then by address.
    const before = await guest.python(`print(probe("${WORLD}", 7))`);
    assert.equal(before, "EHOSTUNREACH");
    const names = await guest.python(`
print(talk("example.test", 7, b"hello"))
print(talk("${WORLD}", 7, b"hello"))
print(talk("named.test", 7, b"hello"), probe("named.test", 9))
for name in ("api.example.test", "other.test", "shared.test", "rebind.test", "a.b.example.org"): print(probe(name, 7))
print(probe("${OTHER}", 7))`);
    const lines = [
      "b'hello'",
      "b'hello'",
      "b'hello' EHOSTUNREACH",
      ...Array(5).fill("no name"),
      "EHOSTUNREACH",
    ];
    assert.equal(names, lines.join("\n"));
    const outside = await guest.python(`
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\\7example\\4test\\0" + struct.pack(">HH", 1, 1)
for server in ("8.8.8.8", "${WORLD}", "10.0.2.2"):
    try: s.connect((server, 53)); s.send(question); s.recv(512); print("an answer")
    except OSError as e: print(errno.errorcode.get(e.errno, "timeout"))
def ask(name, kind):
    s.connect(("10.0.2.3", 53))
    s.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l for l in name.split(b".")) + b"\\0" + struct.pack(">HH", kind, 1))
    answer = s.recv(512)
    print(answer[3] & 15, struct.unpack(">H", answer[6:8])[0])
ask(b"example.test", 1); ask(b"example.test", 16); ask(b"example.test", 28); ask(b"secret.attacker.example", 1); ask(b"secret.attacker.example", 16)
for server in ("10.0.2.2", "${HOST_SIDE}", "127.0.0.1"): print(probe(server, ${port}))
print(probe("169.254.169.254", 80), probe("8.8.8.8", 53), probe("1.1.1.1", 443))`);
    assert.equal(
      outside,
      [
        ...Array(3).fill("EHOSTUNREACH"),
        ...["0 1", "0 0", "0 0", "3 0", "3 0"],
        ...["EHOSTUNREACH", "EHOSTUNREACH", "ECONNREFUSED"],
        "EHOSTUNREACH EHOSTUNREACH EHOSTUNREACH",
      ].join("\n"),
    );
  });

  test("allow: another name at an allowed address is refused by what it says first", async () => {
    await using guest = await start({ allow: ["example.test"] });
    const web = await guest.python(`
def ask(host, port=80): 
    answer = talk("example.test", port, b"GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" % host)
    return answer if isinstance(answer, str) else answer.split(b"\\r\\n\\r\\n")[-1][-20:].split(b"\\n")[0].decode()
print(ask(b"example.test"), "|", ask(b"shared.test"), "|", ask(b"shared.test", 7))
def tls(name):
    context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
    try: context.wrap_socket(socket.create_connection(("example.test", 443), 20), server_hostname=name)
    except OSError as e: return type(e).__name__
print(tls("example.test"), tls("shared.test"), tls(None))`);
    // A reset that is there before the guest has said all it had to say is told as ENOTCONN.
    // An allowed hello comes back as it was, which is no answer to it.
    const [http, hello] = web.split("\n");
    assert.match(http ?? "", /example\.test( \| (ECONNRESET|ENOTCONN)){2}$/);
    assert.equal(hello, "SSLError ConnectionResetError ConnectionResetError");
    const { refusals } = await guest.stats();
    assert.deepEqual(
      refusals.map(({ why }) => why),
      [
        'it names "shared.test" in HTTP',
        'it names "shared.test" in HTTP',
        'it names "shared.test" in TLS',
        "it names no host in TLS",
      ],
    );
  });

  test("allow: what listens on this host, if it is named", async () => {
    await using guest = await start({ allow: [`127.0.0.1:${port}`, `${HOST_SIDE}:${port}`] });
    const result = await guest.python(`
print(talk("10.0.2.2", ${port}, b""), talk("${HOST_SIDE}", ${port}, b""))
print(probe("10.0.2.2", ${port === 22 ? 23 : 22}))`);
    assert.equal(result, "b'the host\\n' b'the host\\n'\nEHOSTUNREACH");
  });

  test("none: everything is refused at once", async () => {
    await using guest = await start("none");
    const result = await guest.python(`
began = time.time()
print(probe("${WORLD}", 80), probe("example.test", 80), probe("10.0.2.2", ${port}))
print(time.time() - began < 5)`);
    assert.equal(result, "EHOSTUNREACH no name EHOSTUNREACH\nTrue");
  });

  test("a server that is killed is replaced: old connections are reset, new ones work", async () => {
    await using guest = await start("full");
    const script = guest.python(`
s = socket.create_connection(("example.test", 7), 20)
s.sendall(b"a"); s.recv(1)
open("/tmp/open", "w").close()
s.settimeout(1)
until = time.time() + 30
try:
    while time.time() < until:
        s.sendall(b"b")
        try: s.recv(1)
        except TimeoutError: pass # The server that is gone had taken it, and answers no more.
        time.sleep(0.05)
except ConnectionResetError: print("reset")
for attempt in range(100):
    if talk("example.test", 7, b"again") == b"again": print("again"); break
    time.sleep(0.1)`);
    await guest.python(`
import os
while not os.path.exists("/tmp/open"): time.sleep(0.05)`);
    const pid = await networks.pid();
    process.kill(pid, "SIGKILL");
    assert.equal(await script, "reset\nagain");
    assert.notEqual(await networks.pid(), pid);
  });

  test("a detached server outlives its service, connections and all", async () => {
    const directory = join(machines.directory, "net2");
    const first = new NetworkService(directory, { detached: true });
    const guest = await Guest.start(machines, first, "full");
    const options = { id: guest.id, policy: "full" as const, socketPath: guest.vm.networkSocket };
    await first.add({ ...options, id: "gone", socketPath: join(machines.directory, "nothing") });
    const pid = await first.pid();
    const script = guest.python(`
import os
s = socket.create_connection(("example.test", 7), 20)
s.sendall(b"before"); print(s.recv(10).decode())
open("/tmp/open", "w").close()
while not os.path.exists("/tmp/go"): time.sleep(0.05)
s.sendall(b"after"); print(s.recv(10).decode())`);
    await guest.python(`
import os
while not os.path.exists("/tmp/open"): time.sleep(0.05)`);
    await first.close();
    await using second = new NetworkService(directory, { detached: true });
    await second.attach([options]);
    assert.equal(await second.pid(), pid);
    await guest.run(["touch", "/tmp/go"]);
    assert.equal(await script, "before\nafter");
    assert.equal((await second.stats(guest.id)).linked, true);
    await assert.rejects(second.stats("gone"), { code: "NETWORK_FAILED" });
    await guest[Symbol.asyncDispose]();
    await second.remove(guest.id); // A detached server ends with its last network.
  });
});
