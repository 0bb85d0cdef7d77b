/**
 * Reads the oldest entries that are still to be delivered, ahead of time if there are many, and
 * knows how soon the next of those that were read expires.
 */
import type { Instant } from "../../signal/index.ts";
import { longestWaitMs, sooner } from "./attempt.ts";
import { itemOf, type OutboxItem, retimed } from "./item.ts";
import type { OutboxClock } from "./outboxClock.ts";
import type { Entry } from "./record.ts";

/** Below what a server takes for a batch, with room for what stands around the messages. */
const BATCH_MAX_BYTES = 3_500_000;

/** Where entries are read. */
export interface EntryQueue {
  /** The oldest ones but those excluded, as many as fit, at least one if there is any. */
  pending(excluded: readonly number[], maxCount: number, maxBytes: number): Entry[];
  /** Writes entries anew, under the sequences that they have. */
  replace(entries: readonly Entry[]): void;
}

/** What a {@link Backlog} needs. */
export interface BacklogOptions {
  readonly queue: EntryQueue;
  readonly clock: OutboxClock;
  /** The most signals in one request. */
  readonly maxBatchSize: number;
}

export class Backlog {
  readonly #options: BacklogOptions;
  /** The sequences of entries whose outcome is not on disk yet. */
  readonly #settled: () => readonly number[];
  /** The ones after those under way. */
  #readAhead: readonly OutboxItem[] | undefined;
  /** When the next of those that are known to be pending expires; perhaps it has since. */
  #soonestExpiry: Instant | undefined;

  constructor(options: BacklogOptions, settled: () => readonly number[]) {
    this.#options = options;
    this.#settled = settled;
  }

  /** The oldest ones, as many as a request takes at most, each with the right time. */
  next(): readonly OutboxItem[] {
    const ahead = this.#readAhead ?? [];
    this.#readAhead = undefined;
    return this.#atRightTimes(ahead.length > 0 ? ahead : this.#oldest([]));
  }

  /** Reads what comes after those under way. */
  readAhead(underWay: readonly OutboxItem[]): void {
    this.#readAhead = this.#oldest(underWay.map(({ entry }) => entry.sequence));
  }

  /** To be called when those under way stay first in line. */
  forgetReadAhead(): void {
    this.#readAhead = undefined;
  }

  /** Notes when signals expire that are pending. */
  noteExpiries(expireTimes: readonly (Instant | undefined)[]): void {
    const now = this.#options.clock.now();
    const isAhead = (time: Instant | undefined) => time !== undefined && time > now;
    this.#soonestExpiry = [this.#soonestExpiry, ...expireTimes]
      .filter(isAhead)
      .reduce(sooner, undefined);
  }

  /** How long the next attempt may be waited for, in milliseconds. */
  longestWaitMs(): number {
    return longestWaitMs(this.#soonestExpiry, this.#options.clock.now());
  }

  #oldest(underWay: readonly number[]): OutboxItem[] {
    const { queue, maxBatchSize } = this.#options;
    const excluded = [...this.#settled(), ...underWay];
    const items = queue.pending(excluded, maxBatchSize, BATCH_MAX_BYTES).map(itemOf);
    this.noteExpiries(items.map(({ expireTime }) => expireTime));
    return items;
  }

  /** Sets right, on disk first, what got its time from a clock that has proved to be wrong. */
  #atRightTimes(items: readonly OutboxItem[]): readonly OutboxItem[] {
    const { clock, queue } = this.#options;
    const right = items.map((item) => {
      const time = clock.rightTime(item.entry, item.signal.signalTime as Instant);
      return time === undefined ? item : retimed(item, time);
    });
    const changed = right.filter((item, index) => item !== items[index]);
    if (changed.length > 0) queue.replace(changed.map(({ entry }) => entry));
    return right;
  }
}
