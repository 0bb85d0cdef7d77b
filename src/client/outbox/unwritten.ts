/**
 * How attempts ended, as far as it is not on disk yet.
 *
 * To write costs as much for one signal as for many, so outcomes gather here until it is worth
 * it. If they cannot be written, because the disk is full, they stay here for the next time.
 * None of these entries may be sent again, although the file still has them as pending.
 */
import { type ClientClock, epochMs } from "../clock.ts";
import { SignalError } from "../signalError.ts";
import type { OutboxItem } from "./item.ts";
import type { Death, Entry } from "./record.ts";

/** Where outcomes are written. */
export interface OutcomeQueue {
  /** Removes what is delivered, and makes dead letters of the entries with a death. */
  settle(delivered: readonly number[], dead: readonly Entry[]): void;
}

/** Told of what was written. Nothing of it may throw. */
export interface OutcomeObserver {
  /** A signal became a dead letter, on disk, for the reason of the error. */
  died(item: OutboxItem, death: Death, error: Error): void;
  /** The file could not be read or written, or something unforeseen happened. */
  failed(error: unknown): void;
}

/** What {@link UnwrittenOutcomes} needs. */
export interface UnwrittenOptions {
  readonly queue: OutcomeQueue;
  readonly clock: ClientClock;
  readonly observer: OutcomeObserver;
}

/** An item that can never be delivered, and why. */
interface DeadItem {
  readonly item: OutboxItem;
  readonly death: Death;
  readonly error: Error;
}

export class UnwrittenOutcomes {
  readonly #options: UnwrittenOptions;
  #delivered: number[] = [];
  #dead: DeadItem[] = [];

  constructor(options: UnwrittenOptions) {
    this.#options = options;
  }

  get deliveredCount(): number {
    return this.#delivered.length;
  }

  get deadCount(): number {
    return this.#dead.length;
  }

  /** The entries concerned. */
  get sequences(): number[] {
    return [...this.#delivered, ...this.#dead.map(({ item }) => item.entry.sequence)];
  }

  /** Remembers that the server has these. */
  deliver(items: readonly OutboxItem[]): void {
    for (const { entry } of items) this.#delivered.push(entry.sequence);
  }

  /** Remembers that this one can never be delivered, for the reason of the error. */
  bury(item: OutboxItem, error: Error): void {
    this.#dead.push({ item, death: deathBy(error, epochMs(this.#options.clock)), error });
  }

  /** Writes all, and tells of dead letters then. @returns whether all of it is on disk. */
  write(): boolean {
    const { queue, observer } = this.#options;
    const [delivered, dead] = [this.#delivered, this.#dead];
    if (delivered.length + dead.length === 0) return true;
    const buried = dead.map(({ item, death }) => ({ ...item.entry, death }));
    try {
      queue.settle(delivered, buried);
    } catch (error) {
      observer.failed(error);
      return false;
    }
    this.#delivered = [];
    this.#dead = [];
    for (const { item, death, error } of dead) observer.died(item, death, error);
    return true;
  }
}

function deathBy(error: Error, diedMs: number): Death {
  const reason = error instanceof SignalError ? error.reason : "GIVEN_UP";
  const violations = error instanceof SignalError ? error.violations : [];
  return { reason, message: error.message, violations, diedMs };
}
