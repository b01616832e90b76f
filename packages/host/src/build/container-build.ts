import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ErrorCode, KilnError } from "../errors.ts";
import { type BuildLog, openBuildLog } from "./build-log.ts";
import { NO_SPACE_HINT, saysNoSpace } from "./no-space.ts";
import { tryPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";
import { StepLimit } from "./step-limit.ts";

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
  /** How long one step may take, in milliseconds. @default no limit */
  stepTimeoutMs?: number;
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
 * @throws KilnError `BUILD_FAILED`, `BUILD_TIMEOUT` or `DISK_FULL`, with the step, its command, exit code or time limit,
 * last 40 lines and the log's path.
 */
export async function buildContainer(store: PodmanStore, build: ContainerBuild): Promise<string> {
  const containerfile = join(build.tmpdir, "Containerfile");
  await writeFile(containerfile, build.containerfile);
  await using log = await openBuildLog(build.logPath);

  using limit = new StepLimit(build.stepTimeoutMs, build.signal);
  let step: Step | undefined;
  const running = tryPodman(store, buildArguments(build, containerfile), {
    signal: limit.signal,
    tmpdir: build.tmpdir,
    onLine(line) {
      const started = parseStep(line);
      if (started) {
        step = started;
        log.markStep();
        limit.restart();
      }
      log.write(line);
      // Podman's own log lines are for the log.
      if (!line.startsWith('time="')) build.onUpdate?.(...describeProgress(line, started, step));
    },
  });
  const result = await running.catch((error) => {
    throw limit.isOver ? timeoutError(step, log, build) : error;
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
  const failed = `failed with exit code ${exitCode}`;
  if (saysNoSpace(tail.join("\n"))) {
    const hint = `${NO_SPACE_HINT}; ${logHint(build)}`;
    return stepError("DISK_FULL", step, `${failed} for want of space`, log, build, { hint, exitCode });
  }
  return stepError("BUILD_FAILED", step, failed, log, build, { exitCode });
}

function timeoutError(step: Step | undefined, log: BuildLog, build: ContainerBuild): KilnError {
  const seconds = (build.stepTimeoutMs ?? 0) / 1000;
  return stepError("BUILD_TIMEOUT", step, `took longer than ${seconds} s and was ended`, log, build, {
    hint: `give it more time with --step-timeout, or build_step_timeout_s in config.json; ${logHint(build)}`,
    timeout_s: seconds,
  });
}

const logHint = ({ logPath }: ContainerBuild) => `the whole log is in ${logPath}`;

/** What happened to which step, and the last lines it said. */
function stepError(
  code: ErrorCode,
  step: Step | undefined,
  what: string,
  log: BuildLog,
  build: ContainerBuild,
  { hint = logHint(build), ...particulars }: { hint?: string; exitCode?: number; timeout_s?: number },
): KilnError {
  const tail = log.tail();
  const where = step
    ? `step ${step.number} of ${step.total} ${what}: ${step.instruction}`
    : `podman build ${what}`;
  return new KilnError(code, [where, ...tail.map((line) => `  ${line}`)].join("\n"), {
    hint,
    details: {
      ...(step ? { step: step.number, steps: step.total, command: step.instruction } : {}),
      ...particulars,
      tail,
      log: build.logPath,
    },
  });
}
