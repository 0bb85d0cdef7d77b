import { hash } from "node:crypto";

/** Of each block of random bytes, so many numbers are made. */
const NUMBERS_PER_BLOCK = 8;

/** The choices of one case: the same seed and number always choose the same. */
export class Dice {
  readonly #name: string;
  #block = Buffer.alloc(0);
  #drawn = 0;

  constructor(seed: number, caseNumber: number) {
    this.#name = `${seed} ${caseNumber}`;
  }

  /** 32 bits, from SHA-256 over a counter: as good as random, and on every machine the same. */
  #draw(): number {
    const place = this.#drawn % NUMBERS_PER_BLOCK;
    if (place === 0) this.#block = hash("sha256", `${this.#name} ${this.#drawn}`, "buffer");
    this.#drawn += 1;
    return this.#block.readUInt32BE(place * 4);
  }

  /** A whole number from 0 to `max`, both included. */
  upTo(max: number): number {
    return max <= 0 ? 0 : this.#draw() % (max + 1);
  }

  /** True in this share of all cases, 0 to 1. */
  chance(share: number): boolean {
    return this.upTo(999) < share * 1_000;
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new Error("there is nothing to pick from");
    return items[this.upTo(items.length - 1)] as Item;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.upTo(255)));
  }

  /** Does something once to `max` times. */
  times(max: number, action: () => void): void {
    for (let left = 1 + this.upTo(max - 1); left > 0; left--) action();
  }
}
