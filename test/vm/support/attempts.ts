/** What a guest's root tries in order to get out. Each is a Python script that prints what came of it, line by line. */
export interface Attempt {
  name: string;
  script: string;
  /** What every line it prints has to be: refused, in the ways that there are. */
  refused: RegExp;
}

/** What the scripts know of the place they run in. */
export interface Surroundings {
  /** Addresses of the host. */
  host: readonly string[];
  /** A TCP port that somebody listens on at all of them. */
  port: number;
  /** A UDP port that another sandbox listens on at its address, which is the same as this one's. */
  victimPort: number;
  /** A path of the host that no guest has to know. */
  secret: string;
}

/** Frames by hand: `raw()` is a socket for them, `heard` what comes in for some seconds. */
const FRAMES = `
import os, struct, select
OWN = bytes.fromhex("024b696c6e02")
def raw():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(("eth0", 0)); return s
def checksum(data):
    if len(data) % 2: data += b"\\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 65535) + (total >> 16)
    return ~total & 65535
def ip4(source, target, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 69, 0, 20 + len(payload), 7, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload
def ether(target, source, kind, payload): return target + source + struct.pack("!H", kind) + payload
def heard(s, wanted, seconds=3):
    found, until = [], time.time() + seconds
    while time.time() < until:
        if not select.select([s], [], [], 0.2)[0]: continue
        frame, origin = s.recvfrom(70000)
        if origin[2] != 4 and wanted(frame): found.append(frame)
    return found
EVERYBODY = b"\\xff" * 6
`;

const NO_CONNECTION = /^(E\w+|timeout|no name)$/;

/** @param world what is around the guest. */
export function attempts({ host, port, victimPort, secret }: Surroundings): Attempt[] {
  const connect = (addresses: readonly string[], ports: readonly number[]) =>
    addresses
      .flatMap((address) => ports.map((number) => `print(probe("${address}", ${number}, 5))`))
      .join("\n");
  return [
    {
      name: "connect to the host, by its gateway's address and all of its own",
      script: connect(["10.0.2.2", "127.0.0.1", "0.0.0.0", ...host], [port]),
      refused: NO_CONNECTION,
    },
    {
      name: "connect to metadata services, link-local, private and reserved addresses",
      script: connect(
        [
          "169.254.169.254",
          "169.254.170.2",
          "169.254.1.1",
          "10.0.0.1",
          "172.16.0.1",
          "192.168.0.1",
          "100.64.0.1",
          "240.0.0.1",
        ],
        [80],
      ),
      refused: NO_CONNECTION,
    },
    {
      name: "meet another sandbox at its address, as one that has another address itself",
      script: `
import fcntl
def own(address): # SIOCSIFADDR, SIOCSIFNETMASK
    for request, value in ((0x8916, address), (0x891c, "255.255.255.0")):
        fcntl.ioctl(s, request, struct.pack("16sHH4s8x", b"eth0", socket.AF_INET, 0, socket.inet_aton(value)))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
own("10.0.2.77")
for target in ("10.0.2.15", "10.0.2.255", "255.255.255.255"):
    try: s.sendto(b"hello", (target, ${victimPort})); s.recv(100); print("an answer")
    except OSError as e: print(errno.errorcode.get(e.errno, "timeout"))
own("10.0.2.15")`,
      refused: NO_CONNECTION,
    },
    {
      name: "send another sandbox frames, by forged hardware and network addresses",
      script: `${FRAMES}
s = raw()
datagram = struct.pack("!HHHH", 999, ${victimPort}, 13, 0) + b"hello"
for target in (OWN, EVERYBODY, bytes.fromhex("024b696c6e01"), bytes.fromhex("01005e000001")):
    for source in ("10.0.2.15", "10.0.2.2", "127.0.0.1", "8.8.8.8"):
        for to in ("10.0.2.15", "10.0.2.255", "224.0.0.1"):
            s.send(ether(target, os.urandom(6), 0x800, ip4(source, to, 17, datagram)))
print(len(heard(s, lambda frame: b"hello" in frame)))`,
      refused: /^0$/,
    },
    {
      name: "open a connection to the host from an address of the host",
      script: `${FRAMES}
s = raw()
gateway = bytes.fromhex("024b6b6c6e02")
for source in ("127.0.0.1", "10.0.2.2", ${host.map((address) => `"${address}"`).join(", ")}):
    for target in ("127.0.0.1", "10.0.2.2"):
        head = struct.pack("!HHLLBBHHH", 4000, ${port}, 1, 0, 80, 2, 65535, 0, 0)
        pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(head))
        syn = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
        for to in (gateway, EVERYBODY): s.send(ether(to, OWN, 0x800, ip4(source, target, 6, syn)))
accepted = lambda frame: frame[12:14] == b"\\x08\\0" and frame[23] == 6 and frame[47] & 18 == 18
print(len(heard(s, accepted)))`,
      refused: /^0$/,
    },
    {
      name: "pass for the gateway by ARP, and find others by it",
      script: `${FRAMES}
s = raw()
def arp(operation, sender, address, about): return ether(EVERYBODY, OWN, 0x806, struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, sender, socket.inet_aton(address), b"\\0" * 6, socket.inet_aton(about)))
for _ in range(20): s.send(arp(2, OWN, "10.0.2.2", "10.0.2.2")); s.send(arp(1, OWN, "10.0.2.2", "10.0.2.15"))
for last in range(256): s.send(arp(1, OWN, "10.0.2.15", "10.0.2.%d" % last))
answers = heard(s, lambda frame: frame[12:14] == b"\\x08\\x06" and frame[21] == 2)
print(*sorted({socket.inet_ntoa(frame[28:32]) for frame in answers}))`,
      // The gateway and the name server, which there are.
      refused: /^(10\.0\.2\.2 10\.0\.2\.3)?$/,
    },
    {
      name: "find somebody by IPv6",
      script: `${FRAMES}
s = raw()
own, all_nodes, all_routers = [socket.inet_pton(socket.AF_INET6, name) for name in ("fe80::1234", "ff02::1", "ff02::2")]
def icmp6(target, message):
    pseudo = own + target + struct.pack("!LL", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return ether(b"\\x33\\x33" + target[12:], OWN, 0x86dd, struct.pack("!LHBB", 6 << 28, len(message), 58, 255) + own + target + message)
s.send(icmp6(all_routers, struct.pack("!BBHL", 133, 0, 0, 0)))
s.send(icmp6(all_nodes, struct.pack("!BBHHH", 128, 0, 0, 1, 1)))
print(len(heard(s, lambda frame: frame[12:14] == b"\\x86\\xdd")))`,
      refused: /^0$/,
    },
    {
      name: "confuse the network server with 3,000 broken frames",
      script: `${FRAMES}
import random
random.seed(7)
s = raw()
for number in range(3000):
    payload = random.randbytes(random.choice((0, 1, 19, 20, 40, 60, 1400, 15000)))
    kind = random.choice((0x800, 0x806, 0x86dd, 0x8100, random.randrange(65536)))
    if kind == 0x800 and random.random() < 0.7: payload = ip4("10.0.2.15", random.choice(("10.0.2.2", "10.0.2.3", "8.8.8.8")), random.choice((1, 6, 17, 47)), payload[:15000])
    s.send(ether(random.choice((EVERYBODY, bytes.fromhex("024b6b6c6e02"))), OWN, kind, payload.ljust(46, b"\\0")))
time.sleep(1)
answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); answers.settimeout(20); answers.connect(("10.0.2.3", 53))
answers.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\\5local\\0" + struct.pack(">HH", 16, 1))
print("still answers" if answers.recv(512)[:2] == b"\\0\\7" else "?")`,
      refused: /^still answers$/,
    },
    {
      name: "connect by vsock to the host, to other guests and to itself",
      script: `
import socket
for cid in (0, 1, 2, 3, 4, 5, 0xffffffff):
    for port in (1, 22, 52, 1023, 1024, 1025, 10000):
        try:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.settimeout(2)
            s.connect((cid, port)); print("open", cid, port)
        except OSError as e: print(errno.errorcode.get(e.errno, "timeout"))
        finally: s.close()`,
      refused: NO_CONNECTION,
    },
    {
      name: "have 10,000 vsock connections",
      script: `
opened = 0
for number in range(10000):
    try:
        s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); s.setblocking(False)
        s.connect((2, 2000 + number)); opened += 1
    except OSError: pass
    finally: s.close()
print(opened)`,
      refused: /^0$/,
    },
    {
      name: "read and write the disk beyond its end",
      script: `
import fcntl, os
disk = os.open("/dev/vda", os.O_RDWR)
size = struct.unpack("Q", fcntl.ioctl(disk, 0x80081272, b"\\0" * 8))[0]
for at in (size, size + 4096, size + (1 << 40), (1 << 62)):
    print(len(os.pread(disk, 4096, at)))
    try: print(os.pwrite(disk, b"x" * 4096, at))
    except OSError as e: print(0 if e.errno in (errno.ENOSPC, errno.EFBIG, errno.EINVAL) else e)
print(len(os.pread(disk, 8192, size - 4096)) - 4096)
for request in (0x1277, 0x127f): # BLKDISCARD, BLKZEROOUT
    try: fcntl.ioctl(disk, request, struct.pack("QQ", size, 4096)); print("done")
    except OSError: print(0)
try: fcntl.ioctl(disk, 0x2285, b"S" + b"\\0" * 87); print("done") # SG_IO
except OSError: print(0)`,
      refused: /^0$/,
    },
    {
      name: "use another's end of the port to the agent, and ports that nobody gave it",
      script: `
import glob, os
for path in glob.glob("/dev/vport*") + glob.glob("/dev/hvc*"):
    try: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)); print("open", path)
    except OSError as e: print(errno.errorcode[e.errno])
print("ENOENT")`,
      refused: /^E(BUSY|NOENT|NODEV|NXIO)$/,
    },
    {
      name: "fill the host by its console",
      script: `
import os
console = os.open("/dev/ttyS0", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
until = time.time() + 5
while time.time() < until:
    try: os.write(console, b"x" * 4096)
    except BlockingIOError: time.sleep(0.01)
print("done")`,
      refused: /^done$/,
    },
    {
      name: "read of the host what firmware, ports and logs tell",
      script: `
import glob, os
secret = ${JSON.stringify(secret)}.encode()
texts = []
for path in ["/proc/cmdline", "/dev/kmsg"] + glob.glob("/sys/firmware/**/*", recursive=True) + glob.glob("/sys/class/dmi/id/*"):
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        while True:
            part = os.read(file, 65536)
            texts.append(part)
            if not part or len(texts) > 20000: break
    except OSError: pass
try:
    ports = os.open("/dev/port", os.O_RDONLY)
    texts.append(b"".join(os.pread(ports, 1, at) for at in range(0, 65536, 16)))
except OSError: pass
print(b"".join(texts).count(secret))`,
      refused: /^0$/,
    },
  ];
}
