import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KilnError } from "../../errors.ts";
import { QmpClient } from "./qmp.ts";

/** A client, and the end of its connection that QEMU would have. */
async function pair(): Promise<{ client: QmpClient; qemu: Socket } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-qmp-"));
  const server = createServer().listen(join(folder, "qmp"));
  await once(server, "listening");
  const accepted = once(server, "connection");
  const socket = connect(join(folder, "qmp"));
  const [qemu] = (await accepted) as [Socket];
  return {
    client: new QmpClient(socket),
    qemu,
    [Symbol.asyncDispose]: async () => {
      qemu.destroy();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

const isVmFailure = (pattern: RegExp) => (error: unknown) =>
  error instanceof KilnError && error.code === "VM_FAILED" && pattern.test(error.message);

test("answers find their commands, whatever comes in between and however it is cut", async () => {
  await using connection = await pair();
  const { client, qemu } = connection;
  const stopped = client.waitFor("MIGRATION", (data) => data.status === "completed");
  const [one, two] = [client.execute("one"), client.execute("two")];
  const lines =
    '{"QMP": {"version": {}}}\r\n{"return": {"n": 1}, "id": 2}\r\n{"timestamp": {}, "event": "MIGRATION", "data": {"status": "active"}}\r\n' +
    '{"timestamp": {}, "event": "MIGRATION", "data": {"status": "completed"}}\r\n{"error": {"class": "GenericError", "desc": "no"}, "id": 3}\r\n';
  qemu.write(lines.slice(0, 40));
  qemu.write(lines.slice(40));
  assert.deepEqual(await one, { n: 1 });
  await assert.rejects(two, isVmFailure(/QEMU refused two: no/));
  assert.deepEqual(await stopped, { status: "completed" });
});

test("what waits ends with the connection", async () => {
  await using connection = await pair();
  const waiting = [connection.client.execute("one"), connection.client.waitFor("RESUME", () => true)];
  connection.qemu.destroy();
  await Promise.all(waiting.map((promise) => assert.rejects(promise, isVmFailure(/closed|broke/))));
  await assert.rejects(connection.client.execute("late"), KilnError);
});

test("what is no message, and what never ends, is refused", async () => {
  for (const bytes of ["not json\n", '{"return": 1}\n', "x".repeat(1_100_000)]) {
    await using connection = await pair();
    const waiting = connection.client.execute("one");
    connection.qemu.on("error", () => undefined);
    connection.qemu.write(bytes);
    await assert.rejects(waiting, isVmFailure(/no QMP message|endless/));
  }
});
