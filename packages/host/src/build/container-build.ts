import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import { type BuildLog, openBuildLog } from "./build-log.ts";
import { tryPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

export interface ContainerBuild {
  /** Text of the Containerfile. */
  containerfile: string;
  /** Directory of what it copies. */
  context: string;
  buildArgs?: Record<string, string>;
  /** Stage to build; the last one when left out. */
  target?: string;
  /** Folder to write the result's files to, instead of keeping an image. */
  outputFolder?: string;
  /** Other flags of `podman build`: isolation, network, volumes. */
  flags: readonly string[];
  /** Folder for podman's temporary files. */
  tmpdir: string;
  logPath: string;
  signal?: AbortSignal;
  /** One line for each step, and the step's latest output. */
  onUpdate?: (message: string, fraction?: number) => void;
}

interface Step {
  number: number;
  total: number;
  instruction: string;
}

/**
 * Runs `podman build` with its step cache.
 *
 * @returns the id of the image, 64 hex digits; empty when the result went to a folder.
 * @throws KilnError `BUILD_FAILED` with the step, its command, exit code, last 40 lines and the log's path.
 */
export async function buildContainer(store: PodmanStore, build: ContainerBuild): Promise<string> {
  const containerfile = join(build.tmpdir, "Containerfile");
  await writeFile(containerfile, build.containerfile);
  await using log = await openBuildLog(build.logPath);

  let step: Step | undefined;
  const result = await tryPodman(store, buildArguments(build, containerfile), {
    ...(build.signal ? { signal: build.signal } : {}),
    tmpdir: build.tmpdir,
    onLine(line) {
      const started = parseStep(line);
      if (started) {
        step = started;
        log.markStep();
      }
      log.write(line);
      // Podman's own log lines are for the log.
      if (!line.startsWith('time="')) build.onUpdate?.(...describeProgress(line, started, step));
    },
  });
  if (result.exitCode !== 0) throw buildError(step, result.exitCode, log, build);
  if (build.outputFolder !== undefined) return "";
  return result.stdout.trimEnd().split("\n").at(-1)?.trim() ?? "";
}

function buildArguments(build: ContainerBuild, containerfile: string): string[] {
  return [
    "build",
    "--layers",
    "--force-rm",
    "--pull=never",
    ...build.flags,
    ...Object.entries(build.buildArgs ?? {}).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...(build.target ? [`--target=${build.target}`] : []),
    ...(build.outputFolder ? [`--output=type=local,dest=${build.outputFolder}`] : []),
    `--file=${containerfile}`,
    build.context,
  ];
}

/** `STEP 3/9: RUN …`, or `[2/3] STEP 1/4: …` in a build of several stages. */
function parseStep(line: string): Step | undefined {
  const match = /^(?:\[\d+\/\d+\] )?STEP (\d+)\/(\d+): (.*)$/.exec(line);
  if (!match) return undefined;
  return { number: Number(match[1]), total: Number(match[2]), instruction: match[3] ?? "" };
}

function describeProgress(
  line: string,
  started: Step | undefined,
  step: Step | undefined,
): [string, number?] {
  if (step === undefined) return [line];
  const fraction = (step.number - 1) / step.total;
  return [
    started ? `step ${step.number}/${step.total}: ${step.instruction.slice(0, 200)}` : line.slice(0, 200),
    fraction,
  ];
}

function buildError(
  step: Step | undefined,
  podmanExit: number,
  log: BuildLog,
  build: ContainerBuild,
): KilnError {
  const tail = log.tail();
  // The step's own exit code is in podman's last line: `…: exit status 3`.
  const status = /exit status (\d+)\s*$/.exec(tail.at(-1) ?? "");
  const exitCode = status ? Number(status[1]) : podmanExit;
  const where = step
    ? `step ${step.number} of ${step.total} failed with exit code ${exitCode}: ${step.instruction}`
    : "podman build failed";
  return new KilnError("BUILD_FAILED", `${where}\n${tail.map((line) => `  ${line}`).join("\n")}`, {
    hint: `the whole log is in ${build.logPath}`,
    details: {
      ...(step ? { step: step.number, steps: step.total, command: step.instruction } : {}),
      exitCode,
      tail,
      log: build.logPath,
    },
  });
}
