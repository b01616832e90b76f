import assert from "node:assert/strict";
import { test } from "node:test";
import { reproducible } from "./reproducible.ts";
import type { TarEntry } from "./tar-entry.ts";

const entry = (path: string, mtimeSeconds: number): TarEntry => ({
  type: "file",
  path,
  linkPath: "",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 1,
  mtimeSeconds,
  mtimeNanoseconds: 5,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
});

test("files are no younger than wanted, and what is omitted is passed over with its content", () => {
  const seen: string[] = [];
  const handler = reproducible(
    {
      entry: ({ path, mtimeSeconds, mtimeNanoseconds }) =>
        seen.push(`${path} ${mtimeSeconds}.${mtimeNanoseconds}`),
      data: (bytes) => seen.push(bytes.toString()),
      entryEnd: () => seen.push("end"),
    },
    { newestSeconds: 100, omits: (path) => path.startsWith("var/log/") },
  );
  for (const [path, time] of [
    ["./old", 99],
    ["var/log/x", 1],
    ["./var/log/y", 1],
    ["young", 100],
  ] as const) {
    handler.entry(entry(path, time));
    handler.data(Buffer.from(path));
    handler.entryEnd();
  }
  assert.deepEqual(seen, ["./old 99.5", "./old", "end", "young 100.0", "young", "end"]);
});
