/** How rows become what the domain has. */
import type { Page } from "../../access/index.ts";
import type { Instant } from "../../signal/index.ts";
import { fromMicros } from "../values.ts";

/** A time that need not be there. */
export function optionalInstant(micros: bigint | null): Instant | undefined {
  return micros === null ? undefined : fromMicros(micros);
}

/** Bytes that a statement gave by `encode(…, 'hex')`, which no setting of a session changes. */
export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/**
 * How big the items of a page are at most, all but the last one together, in bytes as text. A
 * page that is bigger would keep the process from all else while it is read and written.
 */
export const PAGE_MAX_BYTES = 1024 * 1024;

/**
 * A page of what was read for it.
 *
 * @param read what begins the page, and maybe one more.
 * @param keyOf what the next page begins after.
 * @param foundCount how many there were to read, more than the page holds if there is more.
 */
export function toPage<Item>(
  read: readonly Item[],
  size: number,
  keyOf: (item: Item) => string,
  foundCount = read.length,
): Page<Item> {
  const items = read.slice(0, size);
  const last = items.at(-1);
  const isMore = foundCount > items.length && last !== undefined;
  return { items, next: isMore ? keyOf(last) : undefined };
}
