import assert from "node:assert/strict";
import { test } from "node:test";
import type { TarEntry } from "../../image/tar/tar-entry.ts";
import { Inventory } from "./inventory.ts";

const entry = (path: string, change: Partial<TarEntry> = {}): TarEntry => ({
  type: "file",
  path,
  linkPath: "",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
  ...change,
});

function take(files: Record<string, string>): Inventory {
  const inventory = new Inventory();
  for (const [path, text] of Object.entries(files)) {
    const bytes = Buffer.from(text);
    inventory.entry(entry(path, { size: bytes.length }));
    for (let at = 0; at < bytes.length; at += 7) inventory.data(bytes.subarray(at, at + 7));
    inventory.entryEnd();
  }
  return inventory;
}

test("finds what dpkg, npm, pip and Kiln's scripts have installed, in a fixed order", () => {
  const found = take({
    "usr/lib/os-release": 'PRETTY_NAME="Debian"\nVERSION_CODENAME=bookworm\nID=debian\n',
    "./var/lib/dpkg/status": [
      "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2.13\nDescription: x\n Version: 9",
      "Package: gone\nStatus: deinstall ok config-files\nVersion: 1",
      "Package: held\nStatus: hold ok installed\nVersion: 2",
    ].join("\n\n"),
    "usr/local/lib/node_modules/npm/package.json": '{"name":"npm","version":"10.9.4"}',
    "usr/local/lib/node_modules/npm/node_modules/@npmcli/arborist/package.json":
      '{"name":"@npmcli/arborist","version":"8.0.1"}',
    "usr/local/lib/node_modules/npm/node_modules/x/lib/package.json": '{"name":"inner","version":"1"}',
    "usr/local/lib/python3.11/dist-packages/Foo_Bar-1.dist-info/METADATA":
      "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\n\nName: body\nVersion: 3\n",
    "usr/lib/python3/dist-packages/six-1.egg-info": "Name: six\nVersion: 1.16.0\n",
    "usr/lib/python3/dist-packages/wheel-1.egg-info/PKG-INFO": "Name: wheel\nVersion: 0.38.4\n",
    "etc/kiln/tools/node": "22.23.3\n",
  });
  assert.deepEqual(found.distribution, { id: "debian", codename: "bookworm" });
  assert.deepEqual(
    found.packages.map(({ type, name, version, path = "" }) => `${type} ${name} ${version} ${path}`.trim()),
    [
      "deb held 2",
      "deb zlib1g 1:1.2.13",
      "npm @npmcli/arborist 8.0.1 /usr/local/lib/node_modules/npm/node_modules/@npmcli/arborist",
      "npm npm 10.9.4 /usr/local/lib/node_modules/npm",
      "pypi foo-bar 1.0 /usr/local/lib/python3.11/dist-packages",
      "pypi six 1.16.0 /usr/lib/python3/dist-packages",
      "pypi wheel 0.38.4 /usr/lib/python3/dist-packages",
      "tool node 22.23.3",
    ],
  );
});

test("what is no description is passed over, whatever it is", () => {
  const manifest = "srv/node_modules/x/package.json";
  for (const text of [
    "",
    "{",
    "[]",
    "null",
    '"x"',
    "{}",
    '{"name":1,"version":"1"}',
    '{"name":"a b","version":"1"}',
  ]) {
    assert.deepEqual(take({ [manifest]: text }).packages, [], text);
  }
  assert.deepEqual(take({ [manifest]: `{"name":"${"x".repeat(300)}","version":"1"}` }).packages, []);
  assert.deepEqual(take({ [manifest]: '{"name":"\\u001b[31mred","version":"1"}' }).packages, []);
  assert.deepEqual(take({ "var/lib/dpkg/status": "\n\n:\n\nPackage" }).packages, []);
  const large = new Inventory();
  large.entry(entry(manifest, { size: 2 ** 40 }));
  large.data(Buffer.from('{"name":"x","version":"1"}'));
  large.entryEnd();
  assert.deepEqual(large.packages, []);
  const link = new Inventory();
  link.entry(entry(manifest, { type: "symlink" }));
  link.entryEnd();
  assert.deepEqual(link.packages, []);
});
