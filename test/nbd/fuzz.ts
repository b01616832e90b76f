/**
 * Feeds mutated handshakes and requests to a real block server, as a hostile client would.
 *
 *     node test/nbd/fuzz.ts --requests 1000000 --seed 1
 *
 * A run fails when the server dies, leaves a connection hanging, stops serving an honest client, damages what that
 * client wrote, or when its memory grows.
 */
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { Random } from "../support/random.ts";
import { goData, option, TestClient } from "./support/client.ts";
import { TestDisk } from "./support/test-disk.ts";

const SIZE = 8 * 1024 * 1024;
const REQUESTS_PER_CONNECTION = 200;
/** Connections between two checks of the server's health. */
const CHECK_EVERY = 50;
/** Longest time a connection may take to end once the client has stopped sending. */
const END_TIMEOUT_MS = 20_000;
/** Growth from the first checks on that is taken for a leak. */
const MAX_GROWTH_BYTES = 96 * 1024 * 1024;
const WARM_UP_CHECKS = 4;

export interface FuzzResult {
  /** Requests the server has taken: those it found in what was sent. */
  requests: number;
  connections: number;
  /** Bytes the server answered. */
  answered: number;
  /** Requests and handshakes the server refused with an error it counted. */
  errors: number;
  residentBytes: { first: number; last: number };
}

/** One request, most of them within bounds. */
function request(random: Random): Buffer<ArrayBuffer> {
  const command = random.chance(20) ? random.uint32() & 0xffff : random.pick([0, 0, 1, 1, 3, 4, 6, 7]);
  const length = random.chance(30) ? random.uint32() : random.below(random.chance(10) ? 300_000 : 9_000);
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513, 0);
  header.writeUInt16BE(random.chance(4) ? random.uint32() & 0x1f : 0, 4);
  header.writeUInt16BE(command, 6);
  header.writeUInt32BE(random.uint32(), 8);
  header.writeUInt32BE(random.uint32(), 12);
  if (random.chance(40)) header.writeUInt32BE(random.uint32(), 16);
  header.writeUInt32BE(command === 3 ? 0 : random.below(SIZE + 4096), 20);
  header.writeUInt32BE(command === 3 ? 0 : length, 24);
  if (command !== 1) return header;
  // Mostly all the data that was announced; else the server waits for more, or takes the next request for data.
  const sent = random.chance(50) ? random.below(5_000) : Math.min(length, 400_000);
  return Buffer.concat([header, Buffer.alloc(sent, random.uint32() & 0xff)]);
}

function handshake(random: Random): Buffer {
  const flags = Buffer.alloc(4);
  flags.writeUInt32BE(random.chance(20) ? random.uint32() : random.pick([1, 3]));
  const parts: Buffer[] = [flags];
  for (let count = random.below(4); count > 0; count--) {
    const number = random.chance(5) ? random.uint32() : random.pick([3, 6, 8, 9, 10]);
    parts.push(option(number, optionData(random, number)));
  }
  if (random.chance(2)) parts.push(option(8, Buffer.alloc(0)));
  if (random.chance(3)) parts.push(option(10, contextData()));
  parts.push(random.chance(10) ? option(1, Buffer.from("disk")) : option(7, goData("disk")));
  return mutate(random, Buffer.concat(parts), 6);
}

function optionData(random: Random, number: number): Buffer {
  if (random.chance(4)) return random.bytes(random.below(random.chance(20) ? 40_000 : 60));
  if (number === 9 || number === 10) return contextData();
  return number === 6 ? goData(random.pick(["disk", "", "no"])) : Buffer.alloc(0);
}

function contextData(): Buffer {
  const query = Buffer.from("base:allocation");
  const data = Buffer.alloc(16 + query.length);
  data.writeUInt32BE(4, 0);
  data.write("disk", 4, "latin1");
  data.writeUInt32BE(1, 8);
  data.writeUInt32BE(query.length, 12);
  query.copy(data, 16);
  return data;
}

/** Leaves all but one in `oneIn` alone; of the rest flips, cuts, doubles or inserts bytes. */
function mutate(random: Random, bytes: Buffer, oneIn: number): Buffer {
  if (!random.chance(oneIn)) return bytes;
  const at = random.below(Math.min(bytes.length, 64));
  switch (random.below(5)) {
    case 0:
      bytes[at] = random.uint32() & 0xff;
      return bytes;
    case 1:
      bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(20)), bytes.subarray(at)]);
    default:
      return Buffer.concat([bytes, bytes]);
  }
}

/** Sends all of it, in pieces cut anywhere, and waits until the server has closed. Resolves to the bytes answered. */
async function converse(random: Random, socketPath: string, parts: readonly Buffer[]): Promise<number> {
  const socket = connect(socketPath);
  let answered = 0;
  socket.on("data", (bytes) => {
    answered += bytes.length;
  });
  socket.on("error", () => undefined); // The server may hang up while there is something left to send.
  const closed = new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  const vanish = random.chance(20);
  for (const part of parts) {
    if (socket.destroyed) break;
    const cut = random.below(part.length + 1);
    socket.write(part.subarray(0, cut));
    if (random.chance(30)) await new Promise(setImmediate);
    if (!socket.write(part.subarray(cut))) await drained(socket, closed);
  }
  if (vanish) socket.destroy();
  else socket.end();
  const timer = setTimeout(() => socket.destroy(new Error("hangs")), END_TIMEOUT_MS);
  const hung = new Promise<boolean>((resolve) => {
    socket.once("error", (error) => resolve(error.message === "hangs"));
  });
  if (await Promise.race([closed.then(() => false), hung]))
    throw new Error("the server left a connection hanging");
  clearTimeout(timer);
  return answered;
}

async function drained(socket: Socket, closed: Promise<void>): Promise<void> {
  await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), closed]);
}

/** An honest client writes and reads a disk of its own on the same server. */
async function checkHealth(socketPath: string, seed: number): Promise<void> {
  using client = await TestClient.connect(socketPath, "honest");
  const data = new Random(seed).bytes(70_000);
  const offset = new Random(seed + 1).below(SIZE - data.length);
  const late = setTimeout(
    () => client.socket.destroy(new Error("the server keeps an honest client waiting")),
    30_000,
  );
  try {
    if ((await client.write(offset, data)).error !== 0) throw new Error("an honest write was refused");
    const { error, data: found } = await client.read(offset, data.length);
    if (error !== 0 || !found.equals(data)) throw new Error("an honest client reads what it has not written");
  } finally {
    clearTimeout(late);
  }
}

/** Sends `requests` mutated requests. @throws for the first thing that is wrong. */
export async function fuzzServer(options: {
  requests: number;
  seed: number;
  onProgress?: (requests: number) => void;
}): Promise<FuzzResult> {
  const random = new Random(options.seed);
  await using it = await TestDisk.open(SIZE);
  const honest = await it.server.addDisk({
    id: "honest",
    exportName: "honest",
    base: `${it.directory}/base`,
    diff: `${it.directory}/honest`,
    sizeBytes: SIZE,
  });
  let gone = false;
  void it.server.exited.then(() => {
    gone = true;
  });
  const result = {
    requests: 0,
    connections: 0,
    answered: 0,
    errors: 0,
    residentBytes: { first: 0, last: 0 },
  };
  for (let checks = 0; result.requests < options.requests; checks++) {
    for (let count = 0; count < CHECK_EVERY; count++) {
      const parts = [handshake(random)];
      for (let index = 0; index < REQUESTS_PER_CONNECTION; index++)
        parts.push(mutate(random, request(random), 150));
      result.answered += await converse(random, it.socketPath, parts);
      result.connections++;
    }
    if (gone) throw new Error("the server died");
    await checkHealth(honest.nbd.socketPath, options.seed + checks);
    result.requests = (await it.disk.stats()).requests;
    const resident = await residentBytes(it.server.pid);
    if (checks <= WARM_UP_CHECKS) result.residentBytes.first = resident;
    result.residentBytes.last = resident;
    if (resident - result.residentBytes.first > MAX_GROWTH_BYTES) {
      throw new Error(`memory grew from ${result.residentBytes.first} to ${resident} bytes`);
    }
    options.onProgress?.(result.requests);
  }
  const { errors, connections } = await it.disk.stats();
  if (connections > 0) throw new Error(`${connections} connections were left open`);
  return { ...result, errors };
}

async function residentBytes(pid: number): Promise<number> {
  return Number((await readFile(`/proc/${pid}/statm`, "latin1")).split(" ")[1]) * 4096;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { requests: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
  });
  const started = performance.now();
  const onProgress = (requests: number) => process.stderr.write(`\r${requests} requests`);
  const result = await fuzzServer({
    requests: Number(values.requests),
    seed: Number(values.seed),
    onProgress,
  });
  console.log(
    `\n${JSON.stringify({ ...result, seconds: Math.round((performance.now() - started) / 1000) })}`,
  );
}
