/** Fields whose content is the user's own and is left as it is. */
const OPAQUE = new Set(["metadata", "env", "spec", "details"]);

/** Names that were met, as they are called here: the same few come with every answer. */
const known = new Map<string, string>();
const MAX_KNOWN = 1_000;

function toCamel(name: string): string {
  let camel = known.get(name);
  if (camel === undefined) {
    camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    if (known.size < MAX_KNOWN) known.set(name, camel);
  }
  return camel;
}

const toSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The daemon's JSON in the SDK's terms: camelCase names, and a `Date` for every time (`…_at`). */
export function fromWire<T>(value: unknown): T {
  return convert(value) as T;
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      if (OPAQUE.has(name)) return [name, field];
      if (name.endsWith("_at") && typeof field === "string") return [toCamel(name), new Date(field)];
      return [toCamel(name), convert(field)];
    }),
  );
}

/** Options in the daemon's terms: snake_case names of the first level. Those that are undefined are left out. */
export function toWire(options: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [toSnake(name), value]),
  );
}
