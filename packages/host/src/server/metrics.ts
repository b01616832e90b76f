import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { KilnHome } from "../home.ts";
import { freeDiskMib } from "../sandbox/limits.ts";
import { SANDBOX_STATES, type SandboxRecord } from "../sandbox/sandbox-record.ts";

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30];

/** What the daemon measures of itself, for Prometheus. */
export class Metrics {
  readonly registry = new Registry();
  readonly createSeconds = new Histogram({
    name: "kiln_sandbox_create_seconds",
    help: "From the request to a running sandbox.",
    labelNames: ["template", "from"],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly execSeconds = new Histogram({
    name: "kiln_exec_seconds",
    help: "From the request to the end of the program.",
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly builds = new Counter({
    name: "kiln_builds_total",
    help: "Builds that ended, by how.",
    labelNames: ["state"],
    registers: [this.registry],
  });
  readonly pool = new Counter({
    name: "kiln_pool_takes_total",
    help: "Creates of pooled templates: a standby VM was there (hit) or not (miss).",
    labelNames: ["template", "result"],
    registers: [this.registry],
  });

  constructor(home: KilnHome) {
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: "kiln_disk_free_bytes",
      help: "Room on the disk of KILN_HOME.",
      registers: [this.registry],
      async collect() {
        this.set((await freeDiskMib(home)) * 1024 * 1024);
      },
    });
  }

  /** Counts the sandboxes there are, and what they use. */
  observe(
    records: () => SandboxRecord[],
    usage: () => Promise<{ memoryBytes: number; diskBytes: number }>,
  ): void {
    const diskUsed = new Gauge({
      name: "kiln_sandbox_disk_bytes",
      help: "Room that running sandboxes' writes since their last pause take.",
      registers: [this.registry],
    });
    new Gauge({
      name: "kiln_vm_private_bytes",
      help: "Memory of the host that VMs share with nobody.",
      registers: [this.registry],
      async collect() {
        const { memoryBytes, diskBytes } = await usage();
        this.set(memoryBytes);
        diskUsed.set(diskBytes);
      },
    });
    new Gauge({
      name: "kiln_sandboxes",
      help: "Sandboxes by state.",
      labelNames: ["state"],
      registers: [this.registry],
      collect() {
        for (const state of SANDBOX_STATES) {
          this.set({ state }, records().filter((record) => record.state === state).length);
        }
      },
    });
    new Gauge({
      name: "kiln_sandbox_memory_bytes",
      help: "Sum of the memory sizes of sandboxes that run.",
      registers: [this.registry],
      collect() {
        const running = records().filter(({ state }) => state === "running");
        this.set(running.reduce((sum, { memoryMib }) => sum + memoryMib * 1024 * 1024, 0));
      },
    });
  }
}
