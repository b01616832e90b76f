import assert from "node:assert/strict";
import { test } from "node:test";
import { KilnError } from "../../errors.ts";
import { formatIpv4, parseIpv4 } from "../address.ts";
import { Resolved } from "./resolved.ts";
import { Rules } from "./rules.ts";
import { parsePolicy } from "./schema.ts";

const ip = (text: string): number => {
  const address = parseIpv4(text);
  assert.ok(address !== undefined, text);
  return address;
};

const OWN = "203.0.113.9";

/** Whether `to` may be reached, in a world where names were resolved as `resolved` says. */
function reaches(policy: unknown, to: string, port = 443, resolved: Record<string, string[]> = {}): boolean {
  const rules = new Rules(parsePolicy(policy));
  return rules.judge(ip(to), port, {
    isOwn: (address) => formatIpv4(address) === OWN,
    namesOf: (address) => resolved[formatIpv4(address)] ?? [],
  }).allowed;
}

test("addresses are read in one spelling only", () => {
  assert.equal(parseIpv4("255.255.255.255"), 0xffffffff);
  assert.equal(formatIpv4(0xc6336402), "198.51.100.2");
  for (const text of ["1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "0x7f.0.0.1", "1.2.3.4.5", ""])
    assert.equal(parseIpv4(text), undefined, text);
});

const NEVER = [
  ...[
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.2.2",
    "10.0.2.3",
    "10.0.2.15",
    "10.200.1.1",
  ],
  ...["172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254"],
  ...[
    "169.254.0.1",
    "192.0.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
  ],
  ...["255.255.255.255", OWN],
];
const PUBLIC = [
  "1.1.1.1",
  "9.255.255.255",
  "11.0.0.1",
  "100.63.255.255",
  "100.128.0.0",
  "172.15.0.1",
  "172.32.0.1",
];

test("full is the internet, and nothing but the internet", () => {
  for (const address of PUBLIC) assert.ok(reaches("full", address), address);
  for (const address of NEVER) assert.ok(!reaches("full", address), address);
});

test("none is nothing, and so is an empty list", () => {
  for (const address of [...PUBLIC, ...NEVER]) {
    assert.ok(!reaches("none", address), address);
    assert.ok(!reaches({ allow: [] }, address), address);
  }
});

test("a listed address opens itself, at its port; a range opens no host", () => {
  assert.ok(reaches({ allow: ["10.1.2.3:5432"] }, "10.1.2.3", 5432));
  assert.ok(!reaches({ allow: ["10.1.2.3:5432"] }, "10.1.2.3", 5433));
  assert.ok(!reaches({ allow: ["10.1.2.3:5432"] }, "10.1.2.4", 5432));
  assert.ok(reaches({ allow: ["10.1.0.0/16"] }, "10.1.2.3"));
  assert.ok(!reaches({ allow: ["10.1.0.0/16"] }, "10.2.2.3"));
  assert.ok(reaches({ allow: [OWN] }, OWN));
  assert.ok(!reaches({ allow: ["203.0.113.0/24"] }, OWN));
  assert.ok(reaches({ allow: ["203.0.113.0/24"] }, "203.0.113.10"));
  assert.ok(reaches({ allow: ["169.254.169.254:80"] }, "169.254.169.254", 80));
  assert.ok(!reaches({ allow: ["169.254.0.0/16"] }, "169.254.169.254", 80));
  assert.ok(!reaches({ allow: ["10.0.0.0/8"] }, "10.0.2.15"));
});

test("the host's loopback is reached at the gateway, where it is named", () => {
  const rules = new Rules(parsePolicy({ allow: ["127.0.0.1:8080"] }));
  const world = { isOwn: () => false, namesOf: () => [] };
  assert.deepEqual(rules.judge(ip("10.0.2.2"), 8080, world), {
    allowed: true,
    address: ip("127.0.0.1"),
    by: "address",
  });
  assert.equal(rules.judge(ip("10.0.2.2"), 8081, world).allowed, false);
});

test("names open the addresses they lead to, at their ports", () => {
  const resolved = {
    "1.1.1.1": ["www.example.com"],
    "2.2.2.2": ["db.example.org"],
    "192.168.0.1": ["www.example.com"],
  };
  const policy = { allow: ["*.Example.com", "db.example.org:5432"] };
  assert.ok(reaches(policy, "1.1.1.1", 443, resolved));
  assert.ok(reaches(policy, "2.2.2.2", 5432, resolved));
  assert.ok(!reaches(policy, "2.2.2.2", 5433, resolved));
  assert.ok(!reaches(policy, "3.3.3.3", 443, resolved));
  assert.ok(!reaches(policy, "192.168.0.1", 443, resolved), "a name led to a private address");
  const rules = new Rules(parsePolicy(policy));
  for (const name of ["a.example.com", "A.B.EXAMPLE.com.", "db.example.org"])
    assert.ok(rules.allowsName(name), name);
  for (const name of [
    "example.com",
    "badexample.com",
    "example.com.evil.org",
    "x.db.example.org",
    "",
    "a..example.com",
  ])
    assert.ok(!rules.allowsName(name), name);
  assert.ok(!rules.mayResolveTo(ip("192.168.0.1"), false));
  assert.ok(!rules.mayResolveTo(ip("8.8.8.8"), true));
  assert.ok(rules.mayResolveTo(ip("8.8.8.8"), false));
});

test("what was resolved is forgotten in time, and there is never too much of it", () => {
  const resolved = new Resolved();
  resolved.add("a.test", 1, 0);
  resolved.add("b.test", 1, 500_000);
  assert.deepEqual(resolved.namesOf(1, 800_000), ["a.test", "b.test"]);
  assert.deepEqual(resolved.namesOf(1, 1_000_000), ["b.test"]);
  assert.deepEqual(resolved.namesOf(1, 2_000_000), []);
  for (let count = 0; count < 100; count++) resolved.add(`n${count}.test`, 2, 0);
  assert.equal(resolved.namesOf(2, 1).length, 16);
  for (let count = 0; count < 2_000; count++) resolved.add("a.test", 1000 + count, 0);
  assert.deepEqual(resolved.namesOf(1000, 1), []);
  assert.deepEqual(resolved.namesOf(2999, 1), ["a.test"]);
});

const BAD: [string, RegExp][] = [
  ["", /"" is not a host name/],
  ["example.com:0", /"example.com:0" has no port/],
  ["example.com:65536", /no port between/],
  ["example.com:", /no port between/],
  ["http://example.com", /not a URL/],
  ["example.com/path", /is not a host name/],
  ["a.*.com", /one star, in front/],
  ["*", /one star, in front/],
  ["*.", /is not a host name/],
  ["-a.com", /is not a host name/],
  ["a b.com", /is not a host name/],
  ["[::1]:80", /no IPv6/],
  ["::1", /no IPv6/],
  ["1.2.3", /is not an IPv4 address/],
  ["1.2.3.4/33", /must have 8 to 32/],
  ["0.0.0.0/0", /must have 8 to 32/],
  ["10.1.2.3/8", /does not begin where/],
  ["0.0.0.0", /cannot be reached/],
  ["224.0.0.1", /cannot be reached/],
  ["10.0.2.2", /cannot be reached/],
  ["127.0.0.2", /must be 127.0.0.1/],
];

test("an entry that is none is named in the error", () => {
  for (const [entry, pattern] of BAD) {
    assert.throws(
      () => parsePolicy({ allow: ["example.com", entry] }),
      (error) => {
        assert.ok(error instanceof KilnError && error.code === "USAGE");
        assert.match(error.message, pattern);
        assert.match(error.message, /allow\.1: /);
        return true;
      },
      entry,
    );
  }
});

test("what is no policy at all is told what one is", () => {
  for (const input of ["some", 1, null, undefined, ["a"], {}, { allow: "a" }, { allow: [], deny: [] }])
    assert.throws(() => parsePolicy(input), { code: "USAGE" }, JSON.stringify(input));
  assert.throws(() => parsePolicy("some"), /must be "none", "full" or/);
  assert.throws(() => parsePolicy({ allow: Array(257).fill("a.com") }), /257|256/);
  assert.deepEqual(parsePolicy({ allow: ["bücher.example", "*.a.com:443"] }), {
    allow: ["bücher.example", "*.a.com:443"],
  });
  assert.ok(new Rules(parsePolicy({ allow: ["bücher.example"] })).allowsName("xn--bcher-kva.example"));
});
