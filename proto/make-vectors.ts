// Writes proto/vectors.txt: bytes that host and agent must agree on, made by the host's encoder. Both sides' tests
// read the file (packages/host/src/guest/vectors.test.ts, agent/tests/vectors.rs), and the host's says when it is not
// what this program writes.
//
//     node proto/make-vectors.ts
import { writeFile } from "node:fs/promises";
import {
  encodeFrame,
  FLAG_END,
  HEADER_BYTES,
  Kind,
  MAX_PAYLOAD_BYTES,
  SYNC,
} from "../packages/host/src/guest/frame.ts";
import {
  Control,
  ErrorCode,
  FileInfo,
  FileType,
  Hello,
  Note,
  ProcessInfo,
  Ready,
  Reply,
  Request,
  WatchEvent,
  WatchKind,
  WhenFull,
} from "../packages/host/src/guest/gen/kiln/agent/v1/agent.ts";

/** Where the vectors lie. */
export const VECTORS = new URL("vectors.txt", import.meta.url);

/** The messages that frames carry, and those that come one after the other on a channel. */
export const MESSAGES = { Hello, Request, Control, Ready, Reply, Note, FileInfo, ProcessInfo, WatchEvent };

const HEAD = `# Bytes that host and agent must agree on. Made by proto/make-vectors.ts: change that and run it.
#
# Three lines each: what it is; what it says; its bytes in hexadecimal ("-" for none).
#   message NAME TYPE      a message. Says the fields that are not their default; bytes in quotes when they are printable
#   later NAME TYPE        a message of a later version: reads as what it says, is written without what is unknown
#   malformed NAME TYPE    a message that whoever receives it must refuse, and why
#   frame NAME KIND        a whole frame
#   broken NAME FIELD      a header that cannot be one, and the field it fails by
#   stream NAME            bytes as they may come, and the frames that are to be found in them
#   transcript NAME FROM   what host and guest send one after the other: each line is one frame, SYNC before it if it is said
`;

const IDENTITY = {
  entropy: Buffer.alloc(32, 0xa5),
  wallClockNs: 1_700_000_000_123_456_789n,
  hostname: "sandbox-1",
  machineId: "0123456789abcdef0123456789abcdef",
  maxProcesses: 0,
};

const utf8 = (text: string) => Buffer.from(text);

/** A message's fields in the words of the vectors. */
export function describe(value: object): string {
  return Object.entries(value)
    .flatMap(([key, field]) => describeField(key, field))
    .join(" ");
}

function describeField(key: string, value: unknown): string[] {
  const name = key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  if (Array.isArray(value)) return value.map((item) => `${name}=${quote(String(item))}`);
  if (value === undefined || value === 0 || value === 0n || value === false || value === "") return [];
  if (typeof value === "string") return [`${name}=${quote(value)}`];
  if (value instanceof Uint8Array) return value.length === 0 ? [] : [`${name}=${describeBytes(value)}`];
  if (typeof value !== "object" || value === null) return [`${name}=${String(value)}`];
  if ("$case" in value && "value" in value) {
    // One of several is present even when it is 0.
    const oneof = String(value.$case).replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (typeof value.value === "object" && value.value !== null)
      return [`${oneof}{${describe(value.value)}}`];
    return [`${oneof}=${String(value.value)}`];
  }
  return [`${name}{${describe(value)}}`];
}

function describeBytes(bytes: Uint8Array): string {
  const isPrintable = bytes.every((byte) => byte >= 0x20 && byte <= 0x7e);
  return isPrintable ? quote(Buffer.from(bytes).toString()) : `0x${Buffer.from(bytes).toString("hex")}`;
}

function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

/** A frame in the words of the vectors. */
export function describeFrame(
  stream: number,
  generation: number,
  flags: number,
  payload: Uint8Array,
): string {
  const length = payload.length > 64 ? `${payload.length} bytes of ${payload[0]}` : describeBytes(payload);
  return `stream=${stream} generation=${generation} flags=${flags} payload=${length}`;
}

const requests: Record<string, Request["kind"]> = {
  "exec-echo": { $case: "exec", value: exec({ argv: ["echo", "hi"] }) },
  "exec-everything": {
    $case: "exec",
    value: exec({
      argv: ["sh", "-c", 'echo "$A"\n', "", "ü€😀"],
      env: ["A=x=y", "EMPTY="],
      cwd: "/workspace",
      user: "node:node",
      stdin: true,
      terminal: { rows: 24, columns: 300 },
      timeoutMs: 18_446_744_073_709_551_615n,
    }),
  },
  "exec-kept": {
    $case: "exec",
    value: exec({
      argv: ["make"],
      keep: { id: "p-1", bufferBytes: 1_048_576, whenFull: WhenFull.WHEN_FULL_WAIT },
    }),
  },
  "exec-kept-dropping": {
    $case: "exec",
    value: exec({
      argv: ["serve"],
      keep: { id: "a".repeat(64), bufferBytes: 1024, whenFull: WhenFull.WHEN_FULL_DROP_OLDEST },
    }),
  },
  "exec-terminal-without-size": {
    $case: "exec",
    value: exec({ argv: ["top"], terminal: { rows: 0, columns: 0 } }),
  },
  "read-file": { $case: "readFile", value: { path: utf8("/etc/os-release"), offset: 0n, length: 0n } },
  "read-file-range": {
    $case: "readFile",
    value: {
      path: Buffer.from([0x2f, 0xff, 0xfe]),
      offset: 4_294_967_296n,
      length: 9_223_372_036_854_775_808n,
    },
  },
  "write-file": {
    $case: "writeFile",
    value: { path: utf8("/tmp/a"), mode: 0o4755, parents: true, user: "1000" },
  },
  stat: { $case: "stat", value: { path: utf8("/etc"), follow: false } },
  "stat-follow": { $case: "stat", value: { path: utf8("/bin"), follow: true } },
  "list-directory": { $case: "listDirectory", value: { path: utf8("/var/log") } },
  "make-directory": {
    $case: "makeDirectory",
    value: { path: utf8("/a/b"), mode: 0o700, parents: true, user: "0:0" },
  },
  remove: { $case: "remove", value: { path: utf8("/a"), recursive: true } },
  rename: { $case: "rename", value: { from: utf8("/a b"), to: utf8("/c\\d") } },
  freeze: { $case: "freeze", value: {} },
  ping: { $case: "ping", value: {} },
  attach: {
    $case: "attach",
    value: { id: "p-1", stdoutOffset: 5_000_000_000n, stderrOffset: 7n, follow: true, silent: false },
  },
  "attach-silent": {
    $case: "attach",
    value: { id: "p-1", stdoutOffset: 0n, stderrOffset: 0n, follow: true, silent: true },
  },
  "list-processes": { $case: "listProcesses", value: {} },
  "signal-process": { $case: "signalProcess", value: { id: "p-1", signal: 15 } },
  "write-stdin": { $case: "writeStdin", value: { id: "p-1", end: true } },
  "resize-process": { $case: "resizeProcess", value: { id: "p-1", size: { rows: 24, columns: 80 } } },
  "forget-process": { $case: "forgetProcess", value: { id: "p-1" } },
  connect: { $case: "connect", value: { port: 65_535 } },
  watch: { $case: "watch", value: { path: utf8("/workspace"), recursive: true } },
  usage: { $case: "usage", value: {} },
};

function exec(fields: Partial<Extract<Request["kind"], { $case: "exec" }>["value"]>) {
  return {
    argv: [],
    env: [],
    cwd: "",
    user: "",
    stdin: false,
    terminal: undefined,
    timeoutMs: 0n,
    keep: undefined,
    ...fields,
  };
}

const info = {
  name: utf8("file"),
  type: FileType.FILE_TYPE_REGULAR,
  mode: 0o644,
  uid: 1000,
  gid: 100,
  size: 5_000_000_000n,
  modifiedNs: 1_700_000_000_000_000_001n,
  target: Buffer.alloc(0),
};
const old = {
  ...info,
  name: Buffer.from([0x80]),
  type: FileType.FILE_TYPE_SYMLINK,
  mode: 0o777,
  uid: 0,
  gid: 0,
  size: 6n,
  modifiedNs: -1n,
  target: utf8("../a b"),
};

const process = {
  id: "p-1",
  argv: ["sh", "-c", ""],
  pid: 4711,
  startedNs: 1_700_000_000_000_000_001n,
  terminal: false,
  exited: undefined,
  stdoutBytes: 5_000_000_000n,
  stderrBytes: 0n,
  stdinBytes: 3n,
  stdinOpen: true,
  bufferBytes: 1_048_576,
  whenFull: WhenFull.WHEN_FULL_WAIT,
};
const ended = {
  ...process,
  terminal: true,
  exited: { status: { $case: "code" as const, value: 0 }, timedOut: false },
  stdinOpen: false,
  whenFull: WhenFull.WHEN_FULL_DROP_OLDEST,
};

const replies: Record<string, Reply["kind"]> = {
  "exited-0": { $case: "exited", value: { status: { $case: "code", value: 0 }, timedOut: false } },
  "exited-255": { $case: "exited", value: { status: { $case: "code", value: 255 }, timedOut: false } },
  "killed-in-time": { $case: "exited", value: { status: { $case: "signal", value: 9 }, timedOut: true } },
  "error-not-found": {
    $case: "error",
    value: { code: ErrorCode.ERROR_CODE_NOT_FOUND, errno: 2, message: "cannot run the program: nö" },
  },
  "error-busy": { $case: "error", value: { code: ErrorCode.ERROR_CODE_BUSY, errno: 0, message: "" } },
  done: { $case: "done", value: { size: 0n } },
  "done-written": { $case: "done", value: { size: 300n } },
  info: { $case: "info", value: info },
  "info-before-1970": { $case: "info", value: old },
  process: { $case: "process", value: process },
  "usage-info": {
    $case: "usage",
    value: {
      processes: 12,
      memoryTotal: 536_870_912n,
      memoryAvailable: 402_653_184n,
      loadMilli: 1250,
      diskTotal: 5_000_000_000n,
      diskUsed: 1_000_000_000n,
    },
  },
};

const notes: Record<string, Note["kind"]> = {
  started: { $case: "process", value: process },
  skipped: { $case: "skipped", value: { channel: 2, offset: 5_000_000_000n } },
  connected: { $case: "connected", value: { ipv6: false } },
  "connected-ipv6": { $case: "connected", value: { ipv6: true } },
};

const event = (kind: WatchKind, path = "", to = "") => ({ kind, path: utf8(path), to: utf8(to) });

const ready = {
  version: 1,
  window: 262_144,
  agentVersion: "0.1.0",
  uptimeNs: 123_456_789n,
  error: undefined,
  nonce: 0,
};
const refusal = { code: ErrorCode.ERROR_CODE_HANDSHAKE, errno: 0, message: "the generation is not newer" };

/** A vector: the words behind its section, what it says, its bytes. */
type Vector = [string, string, Uint8Array];

function message<T extends object>(
  name: string,
  type: keyof typeof MESSAGES,
  codec: { encode(value: T): { finish(): Uint8Array } },
  value: T,
): Vector {
  return [`message ${name} ${type}`, describe(value), codec.encode(value).finish()];
}

function messages(): Vector[] {
  const hello = { version: 1, minVersion: 1, window: 262_144, identity: undefined, nonce: 0 };
  return [
    message("hello-reconnect", "Hello", Hello, hello),
    message("hello-resume", "Hello", Hello, { ...hello, version: 2, identity: IDENTITY }),
    message("hello-limits", "Hello", Hello, {
      ...hello,
      identity: { ...IDENTITY, maxProcesses: 500 },
      nonce: 4_294_967_295,
    }),
    ...Object.entries(requests).map(([name, kind]) => message(name, "Request", Request, { kind })),
    message("signal", "Control", Control, { kind: { $case: "signal", value: 15 } }),
    message("resize", "Control", Control, { kind: { $case: "resize", value: { rows: 50, columns: 200 } } }),
    message("acknowledge", "Control", Control, {
      kind: { $case: "acknowledge", value: { stdoutOffset: 5_000_000_000n, stderrOffset: 7n } },
    }),
    message("ready", "Ready", Ready, ready),
    message("ready-refused", "Ready", Ready, { ...ready, version: 0, error: refusal }),
    message("ready-nonce", "Ready", Ready, { ...ready, nonce: 4_294_967_295 }),
    ...Object.entries(replies).map(([name, kind]) => message(name, "Reply", Reply, { kind })),
    ...Object.entries(notes).map(([name, kind]) => message(`note-${name}`, "Note", Note, { kind })),
    message("process-running", "ProcessInfo", ProcessInfo, process),
    message("process-ended", "ProcessInfo", ProcessInfo, ended),
    message("watch-ready", "WatchEvent", WatchEvent, event(WatchKind.WATCH_KIND_READY)),
    message("watch-renamed", "WatchEvent", WatchEvent, event(WatchKind.WATCH_KIND_RENAMED, "/a", "/b")),
    message("entry", "FileInfo", FileInfo, info),
    message("entry-symlink", "FileInfo", FileInfo, old),
  ];
}

function laterAndMalformed(): Vector[] {
  const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
  const ping = { kind: { $case: "ping", value: {} } } as const;
  const hello = { version: 1, minVersion: 1, window: 1, identity: undefined, nonce: 0 };
  return [
    ["later unknown-varint Hello", describe(hello), hex("08 01 10 01 18 01 f8 07 ff ff 03")],
    ["later unknown-bytes Hello", describe(hello), hex("08 01 10 01 18 01 fa 07 02 aa bb")],
    [
      "later unknown-fixed Hello",
      describe(hello),
      hex("fd 07 01 02 03 04 f9 07 0102030405060708 08 01 10 01 18 01"),
    ],
    ["later fields-of-ping Request", describe(ping), hex("52 02 08 01")],
    ["later unknown-request Request", "", hex("e2 06 00")],
    ["later unknown-control Control", "", hex("e2 06 00")],
    ["later last-kind-wins Request", describe(ping), hex("4a 00 52 00")],
    ["malformed cut-varint Hello", "the message ends in a number", hex("08 80")],
    ["malformed long-varint Hello", "a number of eleven bytes", hex("08 ffffffffffffffffffff 01")],
    ["malformed cut-bytes Request", "the message ends in a field", hex("0a 05 0a 03 61")],
    ["malformed length-of-2-to-63 Request", "a length beyond everything", hex("0a ffffffffffffffff7f")],
    ["malformed field-0 Control", "there is no field 0", hex("00 01")],
    ["malformed inner-cut Request", "the terminal's number is cut", hex("0a 05 32 02 08 80 38")],
    ["malformed wire-type-7 Control", "there is no such type", hex("0f 00")],
    ["malformed name-not-utf8 Hello", "the hostname is not UTF-8", hex("22 04 1a 02 c3 28")],
    ["malformed number-as-bytes Control", "a signal of bytes", hex("0a 01 09")],
    ["malformed cut-reply Reply", "the message ends in a field", hex("12 09 08 00")],
    ["malformed cut-ready Ready", "the version's text is cut", hex("08 01 1a 05 30 2e")],
    ["malformed cut-note Note", "the process is cut", hex("0a 05 0a 03 61")],
    ["malformed offset-as-bytes Control", "an offset of bytes", hex("1a 03 0a 01 09")],
    ["malformed number-as-id Request", "a process's id is a number", hex("5a 02 08 01")],
    ["malformed long-size FileInfo", "a size of eleven bytes", hex("30 ffffffffffffffffffff 01")],
  ];
}

function frames(): Vector[] {
  const frame = (
    name: string,
    kind: keyof typeof Kind,
    stream: number,
    generation: number,
    payload: Uint8Array,
    flags = 0,
  ): Vector => [
    `frame ${name} ${kind}`,
    describeFrame(stream, generation, flags, payload),
    encodeFrame(Kind[kind], stream, generation, payload, flags),
  ];
  const none = Buffer.alloc(0);
  return [
    frame("ping", "open", 7, 3, Request.encode({ kind: { $case: "ping", value: {} } }).finish()),
    frame("data-input", "data", 1, 1, utf8("hello")),
    frame("data-error-end", "data", 4_294_967_295, 4_294_967_295, none, 2 | FLAG_END),
    frame("data-longest", "data", 2, 1, Buffer.alloc(MAX_PAYLOAD_BYTES, 0x61), 1),
    frame("credit", "credit", 2, 1, Buffer.from([0, 0, 1, 0])),
    frame("cancel", "cancel", 2, 1, none),
    frame(
      "note",
      "note",
      2,
      1,
      Note.encode({ kind: { $case: "connected", value: { ipv6: false } } }).finish(),
    ),
    frame("close", "close", 2, 1, Reply.encode({ kind: { $case: "done", value: { size: 0n } } }).finish()),
  ];
}

function broken(): Vector[] {
  const spoil = (name: string, field: string, says: string, change: (header: Buffer) => void): Vector => {
    const header = encodeFrame(Kind.data, 5, 9);
    change(header);
    return [`broken ${name} ${field}`, says, header];
  };
  return [
    spoil("no-magic", "magic", "magic 0", (header) => header.writeUInt16LE(0, 10)),
    spoil("zeros", "magic", "all zero", (header) => header.fill(0)),
    spoil("turned-magic", "magic", "magic in the other byte order", (header) =>
      header.writeUInt16BE(0x4b4e, 10),
    ),
    spoil("too-long", "length", "65537 bytes of payload", (header) =>
      header.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 0),
    ),
    spoil("far-too-long", "length", "4294967295 bytes of payload", (header) =>
      header.writeUInt32LE(0xffff_ffff, 0),
    ),
    spoil("kind-0", "kind", "kind 0", (header) => header.writeUInt8(0, 8)),
    spoil("kind-10", "kind", "kind 10", (header) => header.writeUInt8(10, 8)),
    spoil("unknown-flag", "flags", "DATA with flag 0x04", (header) => header.writeUInt8(0x04, 9)),
    spoil("flags-elsewhere", "flags", "CREDIT with END", (header) => {
      header.writeUInt8(Kind.credit, 8);
      header.writeUInt8(FLAG_END, 9);
    }),
  ];
}

function streams(): Vector[] {
  const ping = encodeFrame(Kind.open, 7, 3, Request.encode({ kind: { $case: "ping", value: {} } }).finish());
  const cancel = encodeFrame(Kind.cancel, 2, 1);
  const zeros = Buffer.alloc(HEADER_BYTES + MAX_PAYLOAD_BYTES);
  return [
    ["stream in-step", "ping cancel", Buffer.concat([SYNC, ping, cancel])],
    [
      "stream left-over-before-sync",
      "ping",
      Buffer.concat([utf8("left over from an earlier life"), SYNC, ping]),
    ],
    ["stream sync-begins-twice", "cancel", Buffer.concat([SYNC.subarray(0, 7), SYNC, cancel])],
    ["stream sync-twice", "ping", Buffer.concat([SYNC, SYNC, ping])],
    ["stream longest-frame-of-zeros", "cancel", Buffer.concat([zeros, SYNC, cancel])],
  ];
}

function transcript(): Vector[] {
  const line = (from: "host" | "guest", says: string, bytes: Uint8Array): Vector => [
    `transcript echo ${from}`,
    says,
    bytes,
  ];
  const generation = 41;
  const hello = { version: 1, minVersion: 1, window: 262_144, identity: IDENTITY, nonce: 0 };
  const end = (channel: number) => encodeFrame(Kind.data, 1, generation, Buffer.alloc(0), channel | FLAG_END);
  const exited = Reply.encode({
    kind: { $case: "exited", value: { status: { $case: "code", value: 0 }, timedOut: false } },
  });
  return [
    line(
      "host",
      "SYNC HELLO",
      Buffer.concat([SYNC, encodeFrame(Kind.hello, 0, generation, Hello.encode(hello).finish())]),
    ),
    line(
      "host",
      "OPEN 1: exec echo hi",
      encodeFrame(Kind.open, 1, generation, Request.encode({ kind: requests["exec-echo"] }).finish()),
    ),
    line(
      "guest",
      "SYNC READY",
      Buffer.concat([SYNC, encodeFrame(Kind.ready, 0, generation, Ready.encode(ready).finish())]),
    ),
    line("guest", "DATA 1 on channel 1", encodeFrame(Kind.data, 1, generation, utf8("hi\n"), 1)),
    line("guest", "DATA 1 END of channel 1", end(1)),
    line("guest", "DATA 1 END of channel 2", end(2)),
    line("guest", "CLOSE 1: exited 0", encodeFrame(Kind.close, 1, generation, exited.finish())),
    line(
      "host",
      "CREDIT 1, crossed the end",
      encodeFrame(Kind.credit, 1, generation, Buffer.from([3, 0, 0, 0])),
    ),
  ];
}

/** The whole file. */
export function vectors(): string {
  const all = [
    ...messages(),
    ...laterAndMalformed(),
    ...frames(),
    ...broken(),
    ...streams(),
    ...transcript(),
  ];
  const texts = all.map(([what, says, bytes]) => {
    const hex = Buffer.from(bytes).toString("hex");
    return `\n${what}\n${says || "nothing"}\n${shorten(hex)}\n`;
  });
  return HEAD + texts.join("");
}

/** A long row of the same byte is written as "COUNT*BYTE", with spaces around it. */
function shorten(hex: string): string {
  if (hex === "") return "-";
  return hex
    .replaceAll(/(?<=^(?:..)*)(..)\1{255,}/g, (row, byte: string) => ` ${row.length / 2}*${byte} `)
    .trim();
}

if (import.meta.main) await writeFile(VECTORS, vectors());
