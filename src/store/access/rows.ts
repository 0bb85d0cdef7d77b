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
 * A page of what was read for it.
 *
 * @param found one more than the page holds, if there is more.
 * @param keyOf what the next page begins after.
 */
export function toPage<Item>(
  found: readonly Item[],
  size: number,
  keyOf: (item: Item) => string,
): Page<Item> {
  const items = found.slice(0, size);
  const last = items.at(-1);
  return { items, next: found.length > size && last !== undefined ? keyOf(last) : undefined };
}
