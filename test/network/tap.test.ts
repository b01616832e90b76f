import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { NetworkService } from "@kiln/host/network/network-service.ts";
import { type TapLink, Taps, TUN } from "@kiln/host/vmm/firecracker/tap/taps.ts";
import type { Launcher } from "@kiln/host/vmm/jail/launcher.ts";

const GUEST = join(import.meta.dirname, "support/tap-guest.pl");
const UID = 0x7000_0001;
const OTHER_UID = 0x7000_0002;
const unusable = process.geteuid?.() === 0 ? undefined : "tap devices are for root";

/** The first line that `read` gives. */
async function until(read: () => Promise<string>, launcher: Launcher): Promise<string> {
  for (let waited = 0; ; waited += 20) {
    const text = await read();
    if (text.includes("\n")) return text;
    assert.ok(waited < 20_000, `nothing was said but ${launcher.process.lastWords}`);
    await delay(20);
  }
}

describe("a guest's link on a tap device", { timeout: 120_000, skip: unusable }, () => {
  let folder: string;
  let networks: NetworkService;
  let link: TapLink;
  const taps = new Taps();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-tap-"));
    await chown(folder, UID, UID);
    networks = new NetworkService(join(folder, "net"));
    link = await taps.take(folder, UID);
  });
  after(async () => {
    await link.stop();
    await networks.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("is in a namespace with nothing else in it", async () => {
    const devices = (await readFile(`/proc/${link.pid}/net/dev`, "utf8")).match(/^\s*\S+(?=:)/gm);
    assert.deepEqual(devices?.map((name) => name.trim()).sort(), ["lo", "tap0"]);
    assert.equal((await readFile(`/proc/${link.pid}/net/route`, "utf8")).trim().split("\n").length, 1);
    const status = await readFile(`/proc/${link.pid}/status`, "utf8");
    assert.match(status, new RegExp(`^Uid:\\s+${UID}\\s+${UID}\\s`, "m"));
    assert.match(status, /^CapEff:\s+0000000000000000$/m);
  });

  test("is its user's alone", async () => {
    const words = [`--net=/proc/${link.pid}/ns/net`, "perl", GUEST, String(OTHER_UID)];
    const stranger = spawn("nsenter", words, { stdio: ["pipe", "pipe", "pipe"] });
    const [said] = await once(stranger.stderr.setEncoding("utf8"), "data");
    assert.match(String(said), /TUNSETIFF/);
    await once(stranger, "close");
  });

  test("is served by the network server, and ends with the VMM", async () => {
    await networks.add({ id: "tap", socketPath: join(folder, "network"), policy: "full" });
    // A stand-in for the VMM.
    const output = join(folder, "output");
    // The host's own may be for root only.
    const tun = join(folder, "tun");
    await promisify(execFile)("mknod", ["-m", "666", tun, "c", "10", "200"]);
    const { launcher } = link;
    launcher.become(
      [
        ["show", "file", GUEST, "/guest"],
        ["show", "file", tun, TUN],
        ["output", output],
        ["user", UID, UID],
      ],
      ["/usr/bin/perl", ["/guest", String(UID)]],
      true,
    );
    const answer = await until(() => readFile(output, "utf8").catch(() => ""), launcher);
    // The gateway's own address, in an ARP answer to the guest.
    assert.match(String(answer).trim(), /^024b6b6c6e02024b696c6e0108060001080006040002024b696c6e010a000202/);
    assert.equal((await networks.stats("tap")).linked, true);
    launcher.process.kill();
    const deadline = Date.now() + 20_000;
    while (
      await access(`/proc/${link.pid}/ns/net`).then(
        () => true,
        () => false,
      )
    ) {
      assert.ok(Date.now() < deadline, "the link is still there");
      await delay(10);
    }
  });
});
