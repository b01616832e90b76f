import { KilnError } from "../errors.ts";

/** Messages come each behind its length as a varint of at most three bytes. */
const MAX_LENGTH_BYTES = 3;

/** The messages in `chunks`, which may be cut anywhere. @throws KilnError `GUEST_PROTOCOL` for one above `maxBytes`. */
export async function* delimited(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let cut = cutMessage(rest, maxBytes);
    while (cut) {
      yield cut.message;
      rest = rest.subarray(cut.end);
      cut = cutMessage(rest, maxBytes);
    }
  }
  if (rest.length > 0) throw new KilnError("GUEST_PROTOCOL", "the guest sent half a message");
}

function cutMessage(bytes: Buffer, maxBytes: number): { message: Buffer; end: number } | undefined {
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes.readUInt8(at);
    length |= (byte & 0x7f) << (7 * at);
    if (length > maxBytes || at >= MAX_LENGTH_BYTES)
      throw new KilnError("GUEST_PROTOCOL", "the guest sent a giant message");
    if (byte < 0x80) {
      const end = at + 1 + length;
      return bytes.length < end ? undefined : { message: bytes.subarray(at + 1, end), end };
    }
  }
  return undefined;
}
