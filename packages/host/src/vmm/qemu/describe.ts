import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { QmpClient } from "./qmp.ts";

/** Between two looks at the processors: registers that stay the same are of one that waits. In milliseconds. */
const PAUSE_MS = 500;

const Devices = z.array(z.object({ path: z.string(), name: z.string() }));
const Device = z.object({ "num-vqs": z.int().min(0).max(1024) });

/**
 * What a QEMU says of a guest that stands still: its processors' registers, twice, and how far driver and device are in each queue of
 * each virtio device. Text for people; what QEMU refuses is told in its place.
 * Source: QEMU, qapi/virtio.json (`x-query-virtio…`, from 7.2 on); its "info registers".
 */
export async function describeQemu(qmp: QmpClient): Promise<string> {
  const parts = [
    async () => `status: ${JSON.stringify(await qmp.execute("query-status"))}`,
    () => registers(qmp),
    async () => {
      await delay(PAUSE_MS);
      return registers(qmp);
    },
    () => queues(qmp),
  ];
  const said: string[] = [];
  for (const part of parts) said.push(await part().catch(String));
  return said.join("\n");
}

async function registers(qmp: QmpClient): Promise<string> {
  const answer = await qmp.execute("human-monitor-command", { "command-line": "info registers -a" });
  // Those of floating point and vectors are most of it and tell nothing.
  const lines = z.string().parse(answer).split(/\r?\n/);
  return lines.filter((line) => line !== "" && !/^(FCW|FPR|XMM|YMM|ZMM|Opmask)/.test(line)).join("\n");
}

async function queues(qmp: QmpClient): Promise<string> {
  const said: string[] = [];
  for (const { path, name } of Devices.parse(await qmp.execute("x-query-virtio"))) {
    const { "num-vqs": count } = Device.parse(await qmp.execute("x-query-virtio-status", { path }));
    for (let queue = 0; queue < count; queue++) {
      const status = await qmp.execute("x-query-virtio-queue-status", { path, queue });
      said.push(`${name} queue ${queue}: ${JSON.stringify(status)}`);
    }
  }
  return said.join("\n");
}
