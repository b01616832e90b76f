/**
 * The table in docs/engines.md of what the engine suite found: writes it from the results.
 *
 *     node script/lib/engines/table.ts
 */
import { readFile, writeFile } from "node:fs/promises";
import { type EngineResult, PAGE, readResults } from "./results.ts";

const BEGIN = "<!-- from test/engines/results, by script/lib/engines/table.ts -->";
const END = "<!-- end of what the engine suite found -->";

/** The engines in the order of their columns, and what these are called. */
const COLUMNS: readonly { engine: string; accelerator: string; title: string }[] = [
  { engine: "qemu", accelerator: "tcg", title: "QEMU, emulation" },
  { engine: "qemu", accelerator: "kvm", title: "QEMU, KVM" },
  { engine: "firecracker", accelerator: "kvm", title: "Firecracker" },
];

/** `page` with the table of `results` in its place. */
export function withTable(page: string, results: readonly EngineResult[]): string {
  const [before, rest] = split(page, BEGIN);
  const [, after] = split(rest, END);
  return [before, BEGIN, "\n\n", table(results), "\n\n", END, after].join("");
}

function split(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  if (at < 0) throw new Error(`the page has no ${mark}`);
  return [text.slice(0, at), text.slice(at + mark.length)];
}

function table(results: readonly EngineResult[]): string {
  const columns = COLUMNS.map(({ title, ...subject }) => {
    const result = results.find(
      ({ engine, accelerator }) => engine === subject.engine && accelerator === subject.accelerator,
    );
    return { title, result, of: new Map(result?.abilities.map((ability) => [ability.name, ability])) };
  });
  const rows = new Map(results.flatMap(({ abilities }) => abilities.map(({ name, area }) => [name, area])));
  const lines = [
    ["", "a VM", ...columns.map(({ title }) => title)],
    ["---", "---", ...columns.map(() => "---")],
    ...[...rows].map(([name, area], index, all) => [
      all[index - 1]?.[1] === area ? "" : `**${area}**`,
      name,
      ...columns.map(({ of }) => of.get(name)?.outcome ?? "not run"),
    ]),
    ["", "version, guest, day", ...columns.map(({ result }) => (result ? about(result) : "not run"))],
  ];
  const exceptions = columns.flatMap(({ title, result }) =>
    (result?.abilities ?? [])
      .filter(({ outcome }) => outcome !== "yes")
      .map(({ name, outcome, why }) => `- ${title}: "${name}": ${outcome}: ${why ?? "no reason given"}`),
  );
  return [
    ...lines.map((cells) => `| ${cells.join(" | ")} |`),
    ...(exceptions.length > 0 ? [""] : []),
    ...exceptions,
  ].join("\n");
}

const about = ({ version, guest, date }: EngineResult): string => `${version}; ${guest}; ${date}`;

if (import.meta.main) await writeFile(PAGE, withTable(await readFile(PAGE, "utf8"), await readResults()));
