import type { Timers } from "../../src/ingest/index.ts";
import type { ManualClock } from "./memoryStore.ts";

/** Timers of a {@link ManualClock}: they fire when they are told that time has passed. */
export class ManualTimers implements Timers {
  readonly #clock: ManualClock;
  readonly #waiting = new Set<{ readonly dueMs: number; readonly callback: () => void }>();
  #soon: (() => void)[] = [];

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  /** How many were neither cancelled nor have fired. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { dueMs: this.#clock.monotonicMs() + milliseconds, callback };
    this.#waiting.add(timer);
    return () => void this.#waiting.delete(timer);
  }

  soon(callback: () => void): void {
    this.#soon.push(callback);
  }

  /** One turn of the event loop: runs what was to run soon, and all that follows from it. */
  async turn(): Promise<void> {
    const callbacks = this.#soon;
    this.#soon = [];
    for (const callback of callbacks) callback();
    await settled();
  }

  /** Lets time pass. Each timer fires at its own time, and what follows from it happens then. */
  async advanceMs(durationMs: number): Promise<void> {
    const endMs = this.#clock.monotonicMs() + durationMs;
    for (let next = this.#nextBefore(endMs); next !== undefined; next = this.#nextBefore(endMs)) {
      this.#waiting.delete(next);
      this.#clock.advanceMs(next.dueMs - this.#clock.monotonicMs());
      next.callback();
      await settled();
    }
    this.#clock.advanceMs(endMs - this.#clock.monotonicMs());
    await settled();
  }

  #nextBefore(endMs: number) {
    return [...this.#waiting]
      .filter(({ dueMs }) => dueMs <= endMs)
      .sort((one, other) => one.dueMs - other.dueMs)[0];
  }
}

/** Resolves when all promises that can settle without an event have settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
