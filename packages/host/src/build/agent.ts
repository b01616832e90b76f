import { cp, mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { lockFile } from "../os/file-lock.ts";
import { runStage } from "../progress.ts";
import { BASE_IMAGE } from "./artifact-base.ts";
import { listFiles, publishFolder } from "./artifact-cache.ts";
import { type BuildOptions, limitsOf } from "./build-options.ts";
import { hashOwnSources } from "./own-sources.ts";

/** The checkout: the agent's sources are in `agent/` and `proto/`. */
const PROJECT = join(import.meta.dirname, "../../../..");
const SOURCES = ["agent", "proto"];
/** What cargo and its tools leave beside the sources. */
const isOutput = (path: string) => path === "agent/target/";
/** What does not go into the agent: tests, the fuzzer. The contract in `proto/` is what they read. */
const isAside = (path: string) =>
  isOutput(path) || ["agent/tests/", "agent/src/fuzz/"].includes(path) || /\/tests(\/|\.rs)$/.test(path);
/** A smaller file is no guest agent: the build went wrong without saying so. */
const MIN_AGENT_BYTES = 16 * 1024;

/** The guest agent, a static executable. */
export interface Agent {
  key: string;
  path: string;
}

/** Identifies the agent that the checkout's sources make. */
export function agentKey(): Promise<string> {
  return hashOwnSources(PROJECT, ["agent"], isAside);
}

/** The guest agent if it has been built, without building anything. */
export async function findAgent(home: KilnHome): Promise<Agent | undefined> {
  const agent = agentOf(home, await agentKey());
  return (await exists(agent.path)) ? agent : undefined;
}

const agentOf = (home: KilnHome, key: string): Agent => ({
  key,
  path: join(home.artifact("agent", key), "agent"),
});

/**
 * The guest agent, built by podman when its sources changed.
 *
 * @throws KilnError `BUILD_FAILED`, `BASE_IMAGE_UNAVAILABLE`, `HOST_UNSUPPORTED`, `CANCELLED`.
 */
export async function ensureAgent(home: KilnHome, options: BuildOptions = {}): Promise<Agent> {
  const key = await agentKey();
  const agent = agentOf(home, key);
  if (await exists(agent.path)) return agent;
  await using _lock = await lockFile(home.lock(`agent-${key.slice(0, 16)}`), options.signal);
  if (await exists(agent.path)) return agent;
  await runStage(options.onProgress, "guest agent", (update) => buildAgent(home, agent, options, update));
  return agent;
}

async function buildAgent(
  home: KilnHome,
  agent: Agent,
  options: BuildOptions,
  onUpdate: (message: string, fraction?: number) => void,
): Promise<void> {
  // Loaded when there is something to build; most runs find everything built and start sooner without it.
  const [{ openBuildSession }, { buildContainer }] = await Promise.all([
    import("./build-session.ts"),
    import("./container-build.ts"),
  ]);
  await using session = await openBuildSession(home, BASE_IMAGE, options);
  const context = join(session.scratch, "context");
  for (const file of await listFiles(PROJECT, SOURCES, isOutput)) {
    await mkdir(dirname(join(context, file)), { recursive: true });
    await cp(join(PROJECT, file), join(context, file));
  }
  const output = join(session.scratch, "artifact");
  await buildContainer(session.store, {
    containerfile: await readFile(join(PROJECT, "agent/Containerfile"), "utf8"),
    context,
    buildArgs: { BASE: BASE_IMAGE },
    target: "artifact",
    outputFolder: output,
    flags: session.flags,
    tmpdir: session.tmpdir,
    logPath: home.log(`agent-${agent.key.slice(0, 16)}`),
    ...limitsOf(options),
    onUpdate,
  });
  const { size } = await stat(join(output, "agent"));
  if (size < MIN_AGENT_BYTES)
    throw new KilnError("BUILD_FAILED", `the agent's build made a file of ${size} bytes`);
  await publishFolder(output, dirname(agent.path));
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );
