import { cp, mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { agentKey } from "../../../packages/host/src/build/agent.ts";
import { BASE_IMAGE } from "../../../packages/host/src/build/artifact-base.ts";
import { listFiles } from "../../../packages/host/src/build/artifact-cache.ts";
import { openBuildSession } from "../../../packages/host/src/build/build-session.ts";
import { buildContainer } from "../../../packages/host/src/build/container-build.ts";
import { KilnError } from "../../../packages/host/src/errors.ts";
import { KilnHome } from "../../../packages/host/src/home.ts";

// Builds the stage `test` of agent/Containerfile, which runs cargo test, in the container that the agent itself is
// built in, and prints what it said. TEST_RUN, new each time, keeps podman from answering out of its step cache.

const root = resolve(import.meta.dirname, "../../..");
const home = KilnHome.fromEnvironment();
const logPath = home.log(`agent-test-${(await agentKey()).slice(0, 16)}`);

let failure: KilnError | undefined;
try {
  await using session = await openBuildSession(home, BASE_IMAGE, {});
  const context = join(session.scratch, "context");
  for (const file of await listFiles(root, ["agent", "proto"], (path) => path === "agent/target/")) {
    await mkdir(dirname(join(context, file)), { recursive: true });
    await cp(join(root, file), join(context, file));
  }
  await buildContainer(session.store, {
    containerfile: await readFile(join(root, "agent/Containerfile"), "utf8"),
    context,
    buildArgs: { BASE: BASE_IMAGE, TEST_RUN: `${Date.now()}` },
    target: "test",
    flags: session.flags,
    tmpdir: session.tmpdir,
    logPath,
  });
} catch (error) {
  if (!(error instanceof KilnError)) throw error;
  failure = error;
  process.exitCode = 1;
}

const lines = (await readFile(logPath, "utf8").catch(() => "")).split("\n");
const firstTest = lines.findIndex((line) => /running \d+ tests?$/.test(line));
if (firstTest >= 0) console.log(lines.slice(firstTest).join("\n"));
// Its message ends with the end of the log: shown only where the log has no tests, lest results be counted twice.
else if (failure) console.log(failure.message);
