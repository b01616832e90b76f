/** A method's characters (RFC 9110, 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const MAX_METHOD = 32;

/**
 * `more` is to come; `other` when this is no HTTP; else the host it is for: `undefined` when none is named, or more than one.
 */
export type RequestResult = "more" | "other" | { host: string | undefined };

/** Reads what an HTTP connection begins with: the first request's line and header fields. */
export function readRequest(bytes: Buffer): RequestResult {
  // Servers forgive empty lines before a request (RFC 9112, 2.2).
  const text = bytes.toString("latin1").replace(/^[\r\n]+/, "");
  const space = text.search(/[ \t]/);
  const method = space === -1 ? text : text.slice(0, space);
  if (space === -1 ? text.includes("\n") : false) return "other";
  if (method !== "" && !(TOKEN.test(method) && method.length <= MAX_METHOD)) return "other";
  const lineEnd = text.indexOf("\n");
  if (lineEnd === -1) return "more";
  const line = text.slice(0, lineEnd).replace(/\r$/, "");
  const version = /[ \t]+HTTP\/(\d)[^ \t]*[ \t]*$/i.exec(line);
  if (version === null) return "other";
  // HTTP/2 without TLS begins like a request too, and says nowhere in plain text where it goes.
  if (version[1] !== "1") return { host: undefined };
  const headEnd = /\n\r?\n/.exec(text);
  if (headEnd === null) return "more";
  const fields = text.slice(lineEnd + 1, headEnd.index + 1);
  return { host: hostOf(line.slice(method.length, version.index).trim(), fields) };
}

function hostOf(target: string, fields: string): string | undefined {
  // A folded line, or space before a colon, is read differently by different servers.
  if (/^[ \t]/m.test(fields) || /^[^:\n]*[ \t]:/m.test(fields)) return undefined;
  const hosts = [...fields.matchAll(/^host:[ \t]*([^\r\n]*?)[ \t]*\r?$/gim)].map((match) => match[1] ?? "");
  const [host] = hosts;
  if (hosts.length !== 1 || host === undefined || /\r(?!\n|$)/.test(fields)) return undefined;
  const name = host.replace(/:\d*$/, "");
  if (target.startsWith("/") || target === "*") return name;
  // A target with a host of its own comes before the field, so they must agree.
  const authority = /^(?:[a-z][a-z0-9+.-]*:\/\/)?([^/?#@]+)/i.exec(target)?.[1]?.replace(/:\d*$/, "");
  return authority?.toLowerCase() === name.toLowerCase() ? name : undefined;
}
