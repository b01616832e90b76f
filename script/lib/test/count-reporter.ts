import type { TestEvent } from "node:test/reporters";
import type { Tally } from "./tally.ts";

/** A reporter for node --test that prints nothing but the tally of the whole run, as JSON. */
export default async function* countReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== "test:summary" || data.file !== undefined) continue; // one comes for each file, then the whole run's
    const { tests, passed, skipped, todo } = data.counts;
    const tally: Tally = { passed, failed: tests - passed - skipped - todo, skipped: skipped + todo };
    yield JSON.stringify(tally);
  }
}
