import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KilnError } from "../errors.ts";
import { parseTemplateSpec, type SpecProblem } from "./parse-spec.ts";
import { SPEC_LIMITS } from "./spec.ts";

const minimal = { name: "t" };

function problemsOf(input: unknown): SpecProblem[] {
  try {
    parseTemplateSpec(input);
  } catch (error) {
    assert(error instanceof KilnError, `not a KilnError: ${error}`);
    assert.equal(error.code, "SPEC_INVALID");
    return error.details?.problems as SpecProblem[];
  }
  return [];
}
const paths = (input: unknown) => problemsOf(input).map(({ path }) => path);

test("fills in the defaults and brings what has several forms into one", () => {
  const spec = parseTemplateSpec({ ...minimal, base_image: "debian", apt_packages: ["git", "curl", "git"] });
  assert.deepEqual(spec, {
    name: "t",
    base_image: "docker.io/library/debian:latest",
    apt_packages: ["curl", "git"],
    tools: [],
    setup_commands: [],
    env: {},
    vcpu: 2,
    memory_mib: 512,
    disk_mib: 8192,
    workdir: "/workspace",
    user: "root",
    checks: [],
  });
});

test("names every mistake at once, each with its path and a hint", () => {
  const problems = problemsOf({
    nmae: "x",
    apt_package: [],
    apt_packages: ["git", "curl; rm -rf /", "git-"],
    env: { GOOD: "", "1BAD": "x", NUMBER: 1 },
    vcpu: 0,
    memory_mib: 1.5,
    workdir: "relative",
  });
  const byPath = new Map(problems.map((problem) => [problem.path, problem]));
  assert.deepEqual(
    [...byPath.keys()].sort(),
    [
      "$.apt_package",
      "$.apt_packages[1]",
      "$.apt_packages[2]",
      "$.env.NUMBER",
      '$.env["1BAD"]',
      "$.memory_mib",
      "$.name",
      "$.nmae",
      "$.vcpu",
      "$.workdir",
    ].sort(),
  );
  assert.equal(byPath.get("$.nmae")?.hint, 'did you mean "name"?');
  assert.equal(byPath.get("$.apt_package")?.hint, 'did you mean "apt_packages"?');
  assert.equal(byPath.get("$.name")?.message, "is required");
  for (const problem of problems) assert(problem.hint, `${problem.path} has no hint`);
});

test("keeps environment values exactly, and refuses what cannot be kept", () => {
  const env = { A: "quotes \" ' and $HOME `x` \\n\\", B: "line 1\nline 2\r\n\t", C: "", D: "ünïcödé 🔥" };
  assert.deepEqual(parseTemplateSpec({ ...minimal, env }).env, env);
  assert.deepEqual(paths({ ...minimal, env: { A: "a\0b" } }), ["$.env.A"]);
  assert.deepEqual(paths({ ...minimal, env: { A: "\ud800" } }), ["$.env.A"]);
  assert.deepEqual(paths({ ...minimal, env: { A: "x".repeat(SPEC_LIMITS.envValueBytes + 1) } }), ["$.env.A"]);
  assert.deepEqual(paths(JSON.parse('{"name":"t","env":{"__proto__":"x"}}')), ["$.env.__proto__"]);
  assert.deepEqual(paths(JSON.parse('{"name":"t","__proto__":{"vcpu":4}}')).includes("$.__proto__"), true);
});

test("refuses a long text at once, whatever the pattern", () => {
  const started = performance.now();
  for (const field of ["name", "base_image", "workdir", "user"]) {
    assert.deepEqual(paths({ ...minimal, [field]: "a-".repeat(500_000) }), [`$.${field}`]);
  }
  assert.deepEqual(paths({ ...minimal, apt_packages: ["a.".repeat(500_000)] }), ["$.apt_packages[0]"]);
  assert(performance.now() - started < 2000);
});

test("never lists more than a hundred mistakes", () => {
  assert.equal(problemsOf({ ...minimal, apt_packages: Array(500).fill("BAD NAME") }).length, 100);
});

/** One way to spoil a good spec: a field, and something that no spec may have there. */
const spoiled = fc.oneof(
  fc.record({
    field: fc.constantFrom("name", "base_image", "workdir", "user"),
    value: fc.oneof(junk(), badText()),
  }),
  fc.record({
    field: fc.constantFrom("apt_packages"),
    value: fc.oneof(
      junk(),
      badText().map((text) => ["git", text]),
    ),
  }),
  fc.record({
    field: fc.constantFrom("setup_commands", "checks"),
    value: fc.oneof(
      junk(),
      fc.constantFrom(
        [""],
        [" \n"],
        ["a\0"],
        ["\udfff"],
        [["ls"]],
        ["x".repeat(SPEC_LIMITS.commandBytes + 1)],
      ),
    ),
  }),
  fc.record({
    field: fc.constantFrom("vcpu", "memory_mib", "disk_mib"),
    value: fc.oneof(
      fc.constantFrom(0, -1, 1.5, 2 ** 31, 1e300, Number.NaN, Number.POSITIVE_INFINITY, "2", null, true, []),
      fc.double({ max: 0.5 }),
    ),
  }),
  fc.record({
    field: fc.constant("env"),
    value: fc.oneof(
      fc.constantFrom<unknown>(null, 1, "A=b", ["A=b"]),
      fc.constantFrom("", "1A", "A-B", "A B", "A=B", "é", "A\n").map((name) => ({ [name]: "x" })),
      fc.constantFrom<unknown>(null, 1, true, {}, [], "\0", "\ud83d").map((value) => ({ A: value })),
    ),
  }),
  // Not a field at all: no field has an upper-case letter.
  fc.record({ field: fc.string().map((text) => `X${text}`), value: fc.jsonValue() }),
);

function junk(): fc.Arbitrary<unknown> {
  return fc.oneof(
    fc.constantFrom<unknown>(null, true, 0, -1, 1.5, {}, { a: 1 }, [[]], [{}], [null], [1], "", "\0"),
    fc.double(),
    fc.array(fc.dictionary(fc.string(), fc.string()), { minLength: 1 }),
  );
}

function badText(): fc.Arbitrary<string> {
  const bad = fc.constantFrom(
    " ",
    "\n",
    "\0",
    ";",
    "$(id)",
    "`id`",
    "'",
    '"',
    "&&",
    "|",
    "\\",
    "\ud800",
    "é",
    "..//",
  );
  return fc
    .tuple(fc.string({ maxLength: 20 }), bad, fc.string({ maxLength: 20 }))
    .map((parts) => parts.join(""));
}

test("a thousand malformed specs are refused, each naming the field", () => {
  fc.assert(
    fc.property(spoiled, ({ field, value }) => {
      const problems = problemsOf({ ...minimal, [field]: value });
      assert(problems.length > 0, `accepted: ${field} = ${JSON.stringify(value)}`);
      const named = problems.some(
        ({ path }) =>
          path.startsWith(`$.${field}`) || path.startsWith(`$["${field[0]}`) || path.includes(field[1] ?? ""),
      );
      assert(named, `${field}: ${JSON.stringify(problems)}`);
    }),
    { numRuns: 1000, seed: 20240701 },
  );
});

test("a thousand things that are no spec at all are refused", () => {
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
      (input) => {
        assert(problemsOf(input).length > 0);
      },
    ),
    { numRuns: 1000, seed: 20240702 },
  );
});
