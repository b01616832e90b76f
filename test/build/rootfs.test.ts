import assert from "node:assert/strict";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { agentKey } from "@kiln/host/build/agent.ts";
import { podmanStore } from "@kiln/host/build/podman-store.ts";
import { ensureRootfs, findRootfs, type Rootfs } from "@kiln/host/build/rootfs.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import type { ProgressEvent } from "@kiln/host/progress.ts";
import { parseTemplateSpec } from "@kiln/host/template/parse-spec.ts";
import { openTestHome } from "../support/home.ts";
import { debugfs, marker, run, wordsIn } from "./support.ts";

const mark = marker();
const env = {
  QUOTES: `double " single ' back \` both "'`,
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's variable, not a template's
  DOLLAR: "$HOME ${HOME} $$ \\$x $(id)",
  BACKSLASH: "a\\b \\n \\\\ end\\",
  NEWLINES: 'first\nsecond "x" $HOME \\\n\n  last\r\n',
  CONTROL: "tab\there \u0001 \u007f",
  UNICODE: "ünïcödé 日本 🔥",
  SPACES: "  two  ",
  EMPTY: "",
  EQUALS: "a=b=c",
  HASH: "# not a comment",
  PATH: "/opt/mine:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};
const spec = parseTemplateSpec({
  name: "rich",
  apt_packages: ["libcap2-bin", "attr"],
  setup_commands: [
    `echo ${mark}`,
    "mkdir /t && cp /bin/true /t/cap && setcap cap_net_raw+ep /t/cap && ln /t/cap /t/hard && ln -s cap /t/soft",
    "cp /bin/true /t/setuid && chown 1234:60000 /t/setuid && chmod 6751 /t/setuid && setfattr -n user.kiln -v hello /t/setuid",
    "mkdir /t/sticky && chmod 1777 /t/sticky && mkfifo /t/fifo && touch -d @86400 /t/old && truncate -s 3G /t/sparse",
    "printf 'several\\nlines\\n' > /t/one\nprintf \"$0 \\$x\" > /t/two",
    // The host lends its CA bundle and proxy settings to every step.
    'grep -q CA-MARK-IN-BUNDLE "$SSL_CERT_FILE" && test "$PIP_CERT" = "$SSL_CERT_FILE"',
    'test "$no_proxy" = proxy-mark.invalid && grep -q index-mark.invalid "$PIP_CONFIG_FILE"',
  ],
  env,
  disk_mib: 1024,
  workdir: "/srv/work",
  user: "dev",
});

let home: KilnHome & AsyncDisposable;
let rootfs: Rootfs;
const events: ProgressEvent[] = [];
const lent = join(tmpdir(), mark);

before(async () => {
  home = await openTestHome();
  await mkdir(lent);
  const bundle = await readFile(
    process.env.SSL_CERT_FILE ?? "/etc/ssl/certs/ca-certificates.crt",
    "utf8",
  ).catch(() => "");
  await writeFile(join(lent, "ca.pem"), `# CA-MARK-IN-BUNDLE\n${bundle}`);
  process.env.SSL_CERT_FILE = join(lent, "ca.pem");
  process.env.no_proxy = "proxy-mark.invalid";
  process.env.PIP_EXTRA_INDEX_URL = "https://user:secret-mark@index-mark.invalid/simple";
  rootfs = await ensureRootfs(home, spec, { onProgress: (event) => events.push(event) });
});
after(async () => {
  await rm(lent, { recursive: true, force: true });
  await home[Symbol.asyncDispose]();
});

test("the image is a sound ext4 file system of the size that was asked for", async () => {
  assert.equal(rootfs.sizeBytes, 1024 * 1024 * 1024);
  await run("e2fsck", ["-fn", rootfs.path]);
  assert.match(rootfs.record.digest, /^sha256:/);
  assert.equal(rootfs.record.agent_key, await agentKey());
});

test("every variable comes through exactly, beside the image's own", async () => {
  const text = await debugfs(rootfs.path, "cat /etc/kiln/guest.conf");
  const lines = text.split("\n");
  assert.deepEqual(lines.slice(0, 2), ["workdir /srv/work", "user dev"]);
  const plain = (value: string) =>
    value.replaceAll(/\\(?:(\\)|(n)|(r)|x([0-9a-f]{2}))/g, (_all, backslash, newline, _return, hex) =>
      backslash ? "\\" : newline ? "\n" : hex ? String.fromCharCode(Number.parseInt(hex, 16)) : "\r",
    );
  const found = new Map(
    lines
      .filter((line) => line.startsWith("env "))
      .map((line) => [line.slice(4, line.indexOf("=")), plain(line.slice(line.indexOf("=") + 1))]),
  );
  assert.deepEqual(Object.fromEntries(found), env);
});

test("modes, owners, links, capabilities and attributes are kept", async () => {
  const stat = (path: string) => debugfs(rootfs.path, `stat ${path}`);
  assert.match(await stat("/t/setuid"), /Mode: {2}06751[\s\S]*User: {2}1234 {3}Group: 60000/);
  assert.match(await debugfs(rootfs.path, "ea_get /t/setuid user.kiln"), /hello/);
  assert.match(await stat("/t/cap"), /Links: 2/);
  const inode = (text: string) => /Inode: (\d+)/.exec(text)?.[1];
  assert.equal(inode(await stat("/t/cap")), inode(await stat("/t/hard")));
  // cap_net_raw (bit 13), permitted and effective: struct vfs_cap_data, revision 2.
  assert.match(
    await debugfs(rootfs.path, "ea_get -x /t/cap security.capability"),
    /01 ?00 ?00 ?02 ?00 ?20 ?00 ?00 ?00 ?00/,
  );
  assert.match(await stat("/t/soft"), /Fast link dest: "cap"/);
  assert.match(await stat("/t/sticky"), /Mode: {2}01777/);
  assert.match(await stat("/t/fifo"), /Type: FIFO/);
  assert.match(await stat("/t/old"), /mtime: 0x00015180/);
  assert.match(await stat("/t/sparse"), /Size: 3221225472[\s\S]*Blockcount: 0/);
  assert.equal(await debugfs(rootfs.path, "cat /t/one"), "several\nlines\n");
  assert.equal(await debugfs(rootfs.path, "cat /t/two"), "/bin/sh $x");
});

test("the user, the working directory and the agent are there", async () => {
  assert.match(await debugfs(rootfs.path, "cat /etc/passwd"), /^dev:x:1000:1000:/m);
  assert.match(await debugfs(rootfs.path, "stat /srv/work"), /User: {2}1000 {3}Group: {2}1000/);
  assert.match(await debugfs(rootfs.path, "stat /usr/sbin/agent"), /Mode: {2}0755/);
  assert.match(await debugfs(rootfs.path, "cat /etc/hosts"), /127\.0\.0\.1 localhost/);
});

test("what the host lent is in no file, layer or history of the image", async () => {
  const marks = ["CA-MARK-IN-BUNDLE", "secret-mark", "index-mark.invalid", "proxy-mark.invalid"];
  const { root, runroot } = podmanStore(home);
  const podman = (...args: string[]) =>
    run("podman", ["--root", root, "--runroot", runroot, ...args], { maxBuffer: 1e8 });
  const { stdout: inspection } = await podman("image", "inspect", rootfs.record.image_id);
  for (const word of marks) {
    // The two names that the setup commands themselves mention are in the history as commands, not as values.
    const inSetup = spec.setup_commands.some((command) => command.includes(word));
    if (!inSetup) assert(!inspection.includes(word), `${word} in the image's description`);
  }
  assert.deepEqual(await wordsIn(rootfs.path, marks), []);
});

test("an unchanged spec is found at once, whatever its name and size of machine", async () => {
  const started = performance.now();
  const again = await ensureRootfs(
    home,
    { ...spec, name: "other", vcpu: 7, memory_mib: 4096 },
    {
      onProgress: () => assert.fail("nothing has to be built"),
    },
  );
  assert(performance.now() - started < 300);
  assert.equal(again.key, rootfs.key);
  assert.equal(again.spec.vcpu, 7);
  assert.equal((await findRootfs(home, spec))?.path, rootfs.path);
  assert.equal(await findRootfs(home, { ...spec, user: "root" }), undefined);
});

test("progress names the steps", () => {
  const steps = events.filter(({ message }) => message?.startsWith("step "));
  assert(steps.some(({ message }) => message?.includes("setcap")));
  assert(events.some(({ stage, status }) => stage === "image rich" && status === "done"));
});
