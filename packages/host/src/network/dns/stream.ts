import { type Duplex, duplexPair } from "node:stream";
import type { NameServer } from "./name-server.ts";

/** Questions on one connection that may wait for their answers. */
const MAX_UNANSWERED = 16;
/** Longest question, in bytes. */
const MAX_QUERY = 4096;

/** The guest's end of a connection to its name server: messages with their length before them (RFC 7766). */
export function openNameStream(server: NameServer): Duplex {
  const [guest, own] = duplexPair();
  let received: Buffer = Buffer.alloc(0);
  let unanswered = 0;
  let ended = false;
  const mayAsk = () => unanswered < MAX_UNANSWERED && !own.writableNeedDrain;
  const answerNext = () => {
    while (mayAsk() && received.length >= 2) {
      const length = received.readUInt16BE(0);
      if (length > MAX_QUERY) {
        own.destroy();
        return;
      }
      if (received.length < 2 + length) break;
      const query = received.subarray(2, 2 + length);
      received = received.subarray(2 + length);
      unanswered += 1;
      void server.answer(query, true).then((answer) => {
        unanswered -= 1;
        if (answer !== undefined && !own.destroyed) {
          const head = Buffer.alloc(2);
          head.writeUInt16BE(answer.length);
          own.write(Buffer.concat([head, answer]));
        }
        answerNext();
      });
    }
    if (mayAsk()) own.resume();
    else own.pause();
    if (ended && unanswered === 0) own.end();
  };
  own.on("data", (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
    answerNext();
  });
  own.once("end", () => {
    ended = true;
    answerNext();
  });
  own.on("error", () => undefined);
  own.on("drain", answerNext);
  own.once("close", () => {
    if (!own.writableFinished) guest.destroy();
  });
  guest.once("close", () => own.destroy());
  return guest;
}
