/**
 * Makes a template's snapshot with an engine, or the best that works (`auto`), resumes it, and says how long each step took:
 *
 *     node test/engines/try-engine.ts ENGINE [TEMPLATE [COMMAND ...]]
 */
import { KilnHome } from "@kiln/host/home.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { EngineChoice } from "@kiln/host/vmm/engines.ts";

const [name, template = "python", ...words] = process.argv.slice(2);
const engine = EngineChoice.parse(name);
const argv = words.length > 0 ? words : ["python3", "-c", 'print("hello")'];
const started = performance.now();
const say = (what: string) =>
  console.log(
    `${Math.round(performance.now() - started)
      .toString()
      .padStart(8)} ms  ${what}`,
  );

await using host = await SandboxHost.open(KilnHome.fromEnvironment());
const bootable = await host.prepare(template, {
  ...(engine === undefined ? {} : { engine }),
  onProgress: ({ stage, status, message }) => say(`${stage}: ${message ?? status}`),
});
say(`prepared: booted in ${Math.round(bootable.snapshot.manifest.bootMs)} ms`);
for (let round = 1; round <= 3; round++) {
  const from = performance.now();
  await using sandbox = await host.start(bootable);
  const running = performance.now();
  const { stdout, stderr, exitCode } = await sandbox.agent.run({ argv });
  const done = performance.now();
  const times = `resumed in ${(running - from).toFixed(1)} ms, first output ${(done - from).toFixed(1)} ms`;
  say(`${bootable.vmm.engine} ${round}: ${times}: ${JSON.stringify(stdout + stderr)} (${exitCode})`);
  if (exitCode !== 0) process.exitCode = 1;
}
say("gone");
