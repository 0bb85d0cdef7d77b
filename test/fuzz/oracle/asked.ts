import type { Signal } from "../../../src/signal/index.ts";

/** What a message asks for. */
export interface Asked {
  readonly signal: Signal;
  readonly key: string | undefined;
  readonly validateOnly: boolean;
}

/** The message is one of the contract, but its signal cannot be one. In a batch, the others can. */
export class Invalid extends Error {}

/**
 * Reads the items of a batch. One that is no message at all takes all others with it, unless it is
 * so large that it is not read.
 */
export function readItems<Item>(
  items: readonly Item[],
  read: (item: Item) => Asked,
  isTooLarge: (item: Item) => boolean,
): Asked[] {
  return items.flatMap((item) => {
    try {
      return [read(item)];
    } catch (error) {
      if (error instanceof Invalid || isTooLarge(item)) return [];
      throw error;
    }
  });
}

/** The greatest item of a batch, in bytes. */
export const ITEM_MAX_BYTES = 64 * 1024;
