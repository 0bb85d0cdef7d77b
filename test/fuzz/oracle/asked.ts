import type { Signal } from "../../../src/signal/index.ts";

/** What a message asks for. */
export interface Asked {
  readonly signal: Signal;
  readonly key: string | undefined;
  readonly validateOnly: boolean;
}

/** The message is one of the contract, but its signal cannot be one. In a batch, the others can. */
export class Invalid extends Error {}

/** Reads the items of a batch. One that is no message at all takes all others with it. */
export function readItems<Item>(items: readonly Item[], read: (item: Item) => Asked): Asked[] {
  return items.flatMap((item) => {
    try {
      return [read(item)];
    } catch (error) {
      if (error instanceof Invalid) return [];
      throw error;
    }
  });
}
