/**
 * What is to be delivered, as the worker sees it: the next entries in line, read ahead of time
 * if there are many, and how attempts ended, as far as it is not on disk yet.
 *
 * To write costs as much for one signal as for many, so outcomes gather here until it is worth
 * it. If they cannot be written, because the disk is full, they stay here for the next time.
 * None of these entries may be sent again, although the file still has them as pending.
 */
import type { Instant } from "../../signal/index.ts";
import { epochMs } from "../clock.ts";
import { SignalError } from "../signalError.ts";
import { longestWaitMs, sooner } from "./attempt.ts";
import { type Death, type Entry, itemOf, type OutboxItem, retimed } from "./entry.ts";
import type { OutboxClock } from "./outboxClock.ts";

/** Below what a server takes for a batch, with room for what stands around the messages. */
const BATCH_MAX_BYTES = 3_500_000;
/** From how many delivered signals on it is worth writing them while more are under way. */
const WORTH_WRITING = 64;
/** How many entries are looked through at a time: some ten milliseconds of work. */
const LOOK_COUNT = 1_000;

/** The entries to deliver, on disk. */
export interface EntryQueue {
  /** The oldest ones but those excluded, as many as fit, at least one if there is any. */
  pending(excluded: readonly number[], maxCount: number, maxBytes: number): Entry[];
  /** Those with a greater sequence, in order. */
  pendingAfter(sequence: number, maxCount: number): Entry[];
  /** Writes entries anew, under the sequences that they have. */
  replace(entries: readonly Entry[]): void;
  /** Removes what is delivered, and makes dead letters of the entries with a death. */
  settle(delivered: readonly number[], dead: readonly Entry[]): void;
}

/** Told of what was written. Nothing of it may throw. */
export interface BacklogObserver {
  /** Outcomes were written. */
  written(): void;
  /** A signal became a dead letter, on disk, for the reason of the error. */
  died(item: OutboxItem, death: Death, error: Error): void;
  /** The file could not be read or written, or something unforeseen happened. */
  failed(error: unknown): void;
}

/** What a {@link Backlog} needs. */
export interface BacklogOptions {
  readonly queue: EntryQueue;
  readonly clock: OutboxClock;
  readonly observer: BacklogObserver;
  /** The most signals in one request. */
  readonly maxBatchSize: number;
}

/** An item that can never be delivered, and why. */
interface DeadItem {
  readonly item: OutboxItem;
  readonly death: Death;
  readonly error: Error;
}

export class Backlog {
  readonly #options: BacklogOptions;
  /** The sequences of what the server has. */
  #delivered: number[] = [];
  #dead: DeadItem[] = [];
  /** The ones after those under way. */
  #readAhead: readonly OutboxItem[] = [];
  /** When the next of those that are known to be pending expires; perhaps it has since. */
  #soonestExpiry: Instant | undefined;
  /** How far {@link look} has come. */
  #lookedTo = 0;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** The oldest ones, as many as a request takes at most, each with the right time. */
  next(): readonly OutboxItem[] {
    const ahead = this.#readAhead;
    this.#readAhead = [];
    return this.#atRightTimes(ahead.length > 0 ? ahead : this.#oldest([]));
  }

  /** Reads what comes after those under way. */
  readAhead(underWay: readonly OutboxItem[]): void {
    this.#readAhead = this.#oldest(underWay.map(({ entry }) => entry.sequence));
  }

  /** To be called when those under way stay first in line. */
  forgetReadAhead(): void {
    this.#readAhead = [];
  }

  /**
   * Goes on through all that is pending, round and round, a part at a time, since each signal
   * must be read to know when it expires.
   *
   * @returns the next part, without those whose outcome is known already.
   */
  look(): OutboxItem[] {
    const entries = this.#options.queue.pendingAfter(this.#lookedTo, LOOK_COUNT);
    this.#lookedTo = entries.length < LOOK_COUNT ? 0 : (entries.at(-1)?.sequence ?? 0);
    const settled = new Set(this.#settled);
    return entries.filter(({ sequence }) => !settled.has(sequence)).map(itemOf);
  }

  /** Whether the file has nothing that is pending. */
  get isEmpty(): boolean {
    return this.#options.queue.pendingAfter(0, 1).length === 0;
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

  /** Remembers that the server has these. */
  deliver(items: readonly OutboxItem[]): void {
    for (const { entry } of items) this.#delivered.push(entry.sequence);
  }

  /** Remembers that this one can never be delivered, for the reason of the error. */
  bury(item: OutboxItem, error: Error): void {
    this.#dead.push({ item, death: deathBy(error, epochMs(this.#options.clock)), error });
  }

  /** Whether there are outcomes that are not on disk. */
  get isUnwritten(): boolean {
    return this.#delivered.length + this.#dead.length > 0;
  }

  /** Whether some of them are of signals that became dead letters, of which people wait to hear. */
  get hasUnwrittenDead(): boolean {
    return this.#dead.length > 0;
  }

  get isWorthWriting(): boolean {
    return this.#delivered.length >= WORTH_WRITING;
  }

  /** Writes all outcomes, and tells of dead letters then. @returns whether all of it is on disk. */
  write(): boolean {
    const { queue, observer } = this.#options;
    const dead = this.#dead;
    if (!this.isUnwritten) return true;
    try {
      queue.settle(
        this.#delivered,
        dead.map(({ item, death }) => ({ ...item.entry, death })),
      );
    } catch (error) {
      observer.failed(error);
      return false;
    }
    this.#delivered = [];
    this.#dead = [];
    observer.written();
    for (const { item, death, error } of dead) observer.died(item, death, error);
    return true;
  }

  /** The sequences of entries whose outcome is not on disk yet. */
  get #settled(): number[] {
    return [...this.#delivered, ...this.#dead.map(({ item }) => item.entry.sequence)];
  }

  #oldest(underWay: readonly number[]): OutboxItem[] {
    const { queue, maxBatchSize } = this.#options;
    const excluded = [...this.#settled, ...underWay];
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

function deathBy(error: Error, diedMs: number): Death {
  const reason = error instanceof SignalError ? error.reason : "GIVEN_UP";
  const violations = error instanceof SignalError ? error.violations : [];
  return { reason, message: error.message, violations, diedMs };
}
