import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Package } from "@kiln/host/build/inventory/package.ts";
import { readPackages } from "@kiln/host/build/inventory/packages-file.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { openTestHome } from "../support/home.ts";

/** npm reads a thousand files for its list; software emulation takes its time. */
const LIST_TIMEOUT_MS = 300_000;

let home: KilnHome & AsyncDisposable;
let host: SandboxHost;
before(async () => {
  home = await openTestHome();
  host = await SandboxHost.open(home);
});
after(async () => {
  await host[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

/** What Kiln has listed of a template's packages, and what its own tools list in a sandbox. */
async function compare(
  template: string,
  type: Package["type"],
  argv: string[],
  parse: (line: string) => string,
) {
  const bootable = await host.prepare(template);
  await using sandbox = await host.start(bootable);
  const { exitCode, stdout, stderr } = await sandbox.agent.run(
    { argv, timeoutMs: LIST_TIMEOUT_MS },
    { maxOutputBytes: 4 * 1024 * 1024 },
  );
  assert.equal(exitCode, 0, String(stderr));
  const theirs = String(stdout)
    .split("\n")
    .map(parse)
    .filter((word) => word !== "");
  const { packages } = await readPackages(home, bootable.rootfs.key);
  const ours = packages
    .filter((entry) => entry.type === type)
    .map(({ name, version }) => `${name} ${version}`);
  assert(theirs.length > 0);
  assert.deepEqual([...new Set(ours)].sort(), [...new Set(theirs)].sort());
}

test("the Debian packages are those that dpkg lists", () =>
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own format
  compare("python", "deb", ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"], (line) => line));

test("the Python packages are those that pip lists", () =>
  compare("python", "pypi", ["pip", "list", "--format=freeze", "--disable-pip-version-check"], (line) => {
    const [name = "", version = ""] = line.split("==");
    return version === "" ? "" : `${name.toLowerCase().replaceAll(/[-_.]+/g, "-")} ${version}`;
  }));

test("the npm packages are those that npm lists", () =>
  compare("nodejs", "npm", ["npm", "ls", "--global", "--all", "--parseable", "--long"], (line) => {
    // <path>:<name>@<version>:…, or <path>:<alias>@npm:<name>@<version>; the first line is the folder itself.
    const [, name = "", version = ""] = /^[^:]*:(?:@?[^@:]+@npm:)?(@?[^@:]+)@([^:]+)/.exec(line) ?? [];
    return name === "" ? "" : `${name} ${version}`;
  }));
