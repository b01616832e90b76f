import { KilnHome } from "@kiln/host/home.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { resolveTemplate, saveTemplate } from "@kiln/host/template/templates.ts";
import { createProgress } from "../output/progress.ts";
import { printJson } from "../output/table.ts";

/** Builds a template with its snapshot, and keeps the spec of one that came from a file under its name. */
export async function buildTemplate(
  ref: string,
  size: { vcpu?: number; memoryMib?: number },
  json: boolean,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const home = KilnHome.fromEnvironment();
  const spec = await resolveTemplate(home, ref);
  let worked = false;
  const progress = createProgress();
  await using host = await SandboxHost.open(home);
  const { rootfs, snapshot } = await host.prepare(ref, {
    ...size,
    signal,
    onProgress: (event) => {
      worked = true;
      progress(event);
    },
  });
  if (ref !== spec.name) await saveTemplate(home, spec);
  const ms = Math.round(performance.now() - started);
  const { key } = snapshot.manifest;
  if (json)
    printJson({
      name: spec.name,
      built: worked,
      rootfs: rootfs.key,
      digest: rootfs.record.digest,
      snapshot: key,
      ms,
    });
  else {
    const how = worked ? `built in ${(ms / 1000).toFixed(1)} s` : `is up to date (${ms} ms)`;
    process.stdout.write(`${spec.name} ${how}; try: kiln run ${spec.name}\n`);
  }
}
