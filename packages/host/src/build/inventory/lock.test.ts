import assert from "node:assert/strict";
import { test } from "node:test";
import { lockedPackages, lockedVersion, lockSchema } from "../../template/lock.ts";
import { SOURCE_PROFILES } from "../../template/sources.ts";
import { planTools } from "../../template/tools.ts";
import { diffPackages } from "./diff.ts";
import { checkLock, missingFromApt } from "./lock.ts";
import type { Package } from "./package.ts";

const lock = lockSchema.parse({
  version: 1,
  template: "t",
  built_at: "2026-01-01T00:00:00.000Z",
  deb: ["curl=7.88.1-10+deb12u8", "libc6:i386=2.36-9"],
  npm: ["@scope/x@1.0.0", "npm@10.9.4"],
  pypi: ["uv==0.9.1"],
  tool: ["node@22.23.3"],
});
const packages: Package[] = [
  { type: "deb", name: "curl", version: "7.88.1-10+deb12u8", arch: "amd64" },
  { type: "deb", name: "libc6", version: "2.36-9", arch: "i386" },
  { type: "npm", name: "@scope/x", version: "1.0.0", path: "/a" },
  { type: "npm", name: "@scope/x", version: "1.0.0", path: "/b" },
  { type: "npm", name: "npm", version: "10.9.4", path: "/c" },
  { type: "pypi", name: "uv", version: "0.9.1", path: "/d" },
  { type: "tool", name: "node", version: "22.23.3" },
];

test("packages and tools are those of the lock", () => {
  assert.deepEqual(lockedPackages(["curl", "git"], lock), [
    "curl=7.88.1-10+deb12u8",
    "git",
    "libc6:i386=2.36-9",
  ]);
  assert.equal(lockedVersion(lock, "npm", "@scope/x"), "1.0.0");
  assert.equal(lockedVersion(lock, "npm", "x"), undefined);
  const plan = planTools(["node@22", "uv"], SOURCE_PROFILES.packages, lock);
  assert.deepEqual(
    plan.map((tool) => tool.arguments),
    [["22.23.3", "10.9.4"], ["0.9.1"]],
  );
});

test("a build is of just what its lock says", () => {
  checkLock(lock, packages);
  assert.throws(() => checkLock(lock, packages.slice(1)), { message: /no longer to be had: curl=7\.88/ });
  const other = packages.map((entry) => (entry.name === "uv" ? { ...entry, version: "1" } : entry));
  assert.throws(() => checkLock(lock, other), { message: /uv==0\.9\.1; instead there would be uv==1/ });
});

test("a lock that could say something else to a shell is refused", () => {
  for (const deb of ["curl", "curl=1; reboot", "-o=1", "curl=1 --foo", "curl=$(id)"]) {
    assert.equal(lockSchema.safeParse({ ...lock, deb: [deb] }).success, false, deb);
  }
  for (const tool of ["node@22;id", "node", "node@$x"])
    assert.equal(lockSchema.safeParse({ ...lock, tool: [tool] }).success, false, tool);
  for (const pypi of ["x==1\ny==2", "x>=1", "-r file"])
    assert.equal(lockSchema.safeParse({ ...lock, pypi: [pypi] }).success, false, pypi);
  for (const npm of ["npm@1;id", "npm@$(id)", "a b@1"])
    assert.equal(lockSchema.safeParse({ ...lock, npm: [npm] }).success, false, npm);
});

test("apt's complaints are understood", () => {
  assert.deepEqual(missingFromApt(["E: Version '1' for 'a' was not found", "E: Unable", "  E: Version"]), [
    "a=1",
  ]);
});

test("a package in another version differs once, however often it is there", () => {
  const changed = packages
    .map((entry) => (entry.path === "/b" ? { ...entry, version: "2.0.0" } : entry))
    .slice(1);
  assert.deepEqual(diffPackages(packages, changed), [
    { type: "deb", name: "curl", a: "7.88.1-10+deb12u8", b: undefined },
    { type: "npm", name: "@scope/x", a: "1.0.0", b: "1.0.0, 2.0.0" },
  ]);
});
