/**
 * Reads the entries of an outbox in pages, so that its file is free in between. Pure.
 */
import type { Entry } from "../../client/outbox/record.ts";

/** Few enough that a producer at work is held up for a millisecond only. */
const PAGE_SIZE = 200;

/** Entries in order, as many as wanted; what changes between two pages may be missed. */
export function* pagesOf(
  readPage: (afterSequence: number, size: number) => readonly Entry[],
  limit = Number.POSITIVE_INFINITY,
): Generator<Entry> {
  let after = 0;
  for (let count = 0; count < limit; ) {
    const size = Math.min(PAGE_SIZE, limit - count);
    const page = readPage(after, size);
    yield* page;
    if (page.length < size) return;
    count += page.length;
    after = page.at(-1)?.sequence ?? after;
  }
}
