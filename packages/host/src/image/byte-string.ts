/**
 * Bytes of a path, a link target or an attribute name, one character a byte (latin1). File names on Linux are any
 * bytes, UTF-8 only by habit: held this way they survive unchanged, and still work as keys of a Map.
 */
export type ByteString = string;

/** The bytes of `text`, for the disk. */
export function toBytes(text: ByteString): Buffer {
  return Buffer.from(text, "latin1");
}

/** A byte string made of a JavaScript string's UTF-8 encoding. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** `text` as people read it, quoted, cut to 200 characters: for messages. */
export function show(text: ByteString): string {
  const readable = toBytes(text).toString("utf8");
  return JSON.stringify(readable.length > 200 ? `${readable.slice(0, 200)}…` : readable);
}

/** Byte order, the same in every locale. */
export function compareBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
