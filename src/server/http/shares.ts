/**
 * Who holds how much of something that all callers share, by their addresses.
 */

/** What one address holds. */
interface Share<Item> {
  weight: number;
  /** In the order in which they came. */
  readonly items: Set<Item>;
}

/** Shares of one resource. An address that holds nothing takes no memory. */
export class Shares<Item> {
  readonly #shares = new Map<string, Share<Item>>();

  /** Adds an item, or puts it behind all others of its address. */
  add(address: string, item: Item, weight: number): void {
    let share = this.#shares.get(address);
    if (share === undefined) {
      share = { weight: 0, items: new Set() };
      this.#shares.set(address, share);
    }
    share.items.add(item);
    share.weight += weight;
  }

  /** Adds to the weight of an item that is there. */
  grow(address: string, weight: number): void {
    const share = this.#shares.get(address);
    if (share !== undefined) share.weight += weight;
  }

  /** @param weight all that the item weighed. */
  remove(address: string, item: Item, weight: number): void {
    const share = this.#shares.get(address);
    if (share?.items.delete(item) !== true) return;
    share.weight -= weight;
    if (share.items.size === 0) this.#shares.delete(address);
  }

  /** The items of the address that holds most, oldest first; of several, the one that came first. */
  ofGreediest(): ReadonlySet<Item> {
    let greediest: Share<Item> | undefined;
    for (const share of this.#shares.values()) {
      if (greediest === undefined || share.weight > greediest.weight) greediest = share;
    }
    return greediest?.items ?? new Set();
  }
}
