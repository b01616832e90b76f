import { KilnError } from "@kiln/sdk/errors.ts";
import type { EngineChoice } from "@kiln/sdk/types.ts";
import { openClient } from "../client.ts";
import { createProgress } from "../output/progress.ts";
import { printJson } from "../output/table.ts";
import { isSpecFile, readSpecFile } from "./template-name.ts";

export interface BuildRequest {
  ref: string;
  vcpu?: number;
  memoryMib?: number;
  engine?: EngineChoice;
  /** How long one step may take. */
  stepTimeoutS?: number;
  json: boolean;
  /** Leaves the build to the daemon as soon as it has begun. */
  detach: boolean;
  /** File with the lock to build by. */
  locked?: string;
  /** Looks for newer versions of everything. */
  refresh: boolean;
}

/** Builds a template with its snapshot, and keeps the spec of one that came from a file under its name. */
export async function buildTemplate(request: BuildRequest, signal: AbortSignal): Promise<void> {
  const { ref, json, detach, locked, refresh, ...options } = request;
  const started = performance.now();
  const client = openClient();
  const build = await client.builds.start(await whatToBuild(ref, locked, refresh), {
    ...options,
    signal,
  });
  if (detach) {
    if (json) printJson(build);
    else process.stdout.write(`${build.id}\n`);
    return;
  }
  let worked = false;
  const progress = createProgress();
  try {
    await client.builds.wait(build.id, {
      signal,
      onProgress: (event) => {
        worked ||= event.type !== "end" && event.stage !== "queue";
        progress(event);
      },
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    await client.builds.cancel(build.id);
    throw new KilnError("CANCELLED", "cancelled", { cause: error });
  }
  const ms = Math.round(performance.now() - started);
  const { template: name } = build;
  if (json) printJson({ name, built: worked, build: build.id, ms });
  else {
    const how = worked ? `built in ${(ms / 1000).toFixed(1)} s` : `is up to date (${ms} ms)`;
    process.stdout.write(`${name} ${how}; try: kiln run ${name}\n`);
  }
}

/** The template's name, or its spec where that comes from a file or is to be changed. */
async function whatToBuild(ref: string, locked: string | undefined, refresh: boolean) {
  if (locked !== undefined && refresh) {
    throw new KilnError(
      "USAGE",
      "--locked asks for the versions of then, --refresh for the newest: not both",
      {
        hint: "kiln template build --refresh, then kiln template lock",
      },
    );
  }
  if (locked === undefined && !refresh) return isSpecFile(ref) ? readSpecFile(ref) : ref;
  const spec = isSpecFile(ref) ? await readSpecFile(ref) : await ownSpecOf(ref);
  return {
    ...spec,
    ...(locked === undefined ? {} : { lock: await readSpecFile(locked) }),
    ...(refresh ? { as_of: new Date().toISOString() } : {}),
  };
}

async function ownSpecOf(name: string) {
  const { KilnHome } = await import("@kiln/host/home.ts");
  const { writtenSpec } = await import("@kiln/host/template/lineage.ts");
  const { resolveTemplate } = await import("@kiln/host/template/templates.ts");
  return writtenSpec(await resolveTemplate(KilnHome.fromEnvironment(), name));
}
