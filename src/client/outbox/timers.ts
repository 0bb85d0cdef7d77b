/** The waits of an outbox. */
import { monotonicMs } from "../clock.ts";

/** Some 25 days: a timer of Node.js that should be longer fires at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** Where waiting comes from; tests bring their own. */
export interface OutboxTimers {
  /** The time by a clock that nobody sets, in milliseconds. */
  monotonicMs(): number;
  /** Calls back once after so many milliseconds. @returns how to cancel it. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** The timers of the process. They do not keep it alive. */
export const processTimers: OutboxTimers = {
  monotonicMs,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, Math.min(milliseconds, TIMER_MS_MAX));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Calls back every so many milliseconds. @returns how to cancel it. */
export function every(
  milliseconds: number,
  timers: OutboxTimers,
  callback: () => void,
): () => void {
  let cancel = () => {};
  const schedule = () => {
    cancel = timers.after(milliseconds, () => {
      schedule();
      callback();
    });
  };
  schedule();
  return () => cancel();
}

/** How long to wait, in milliseconds. */
export interface Wait {
  readonly delayMs: number;
  /** Not even a signal that expires soon makes it shorter than that. */
  readonly shortestMs: number;
}

/** A wait whose length stays as it is. */
export function fixedWait(delayMs: number): Wait {
  return { delayMs, shortestMs: delayMs };
}

/** A wait under way, which can be shortened, or ended before its time. */
export class Pause {
  /** Resolves when the wait is over. */
  readonly over: Promise<void>;
  readonly #timers: OutboxTimers;
  readonly #resolve: () => void;
  readonly #earliestEndMs: number;
  #endMs: number;
  #cancel: () => void;

  constructor({ delayMs, shortestMs }: Wait, timers: OutboxTimers) {
    let resolve = () => {};
    this.over = new Promise((fulfil) => {
      resolve = fulfil;
    });
    const nowMs = timers.monotonicMs();
    this.#timers = timers;
    this.#resolve = resolve;
    this.#earliestEndMs = nowMs + shortestMs;
    this.#endMs = nowMs + delayMs;
    this.#cancel = timers.after(delayMs, resolve);
  }

  /** Makes the wait last so long from now on, if it would last longer and may be shorter. */
  shortenTo(delayMs: number): void {
    const nowMs = this.#timers.monotonicMs();
    const endMs = Math.max(nowMs + delayMs, this.#earliestEndMs);
    if (endMs >= this.#endMs) return;
    this.#endMs = endMs;
    this.#cancel();
    this.#cancel = this.#timers.after(endMs - nowMs, this.#resolve);
  }

  /** Ends the wait now. */
  end(): void {
    this.#cancel();
    this.#resolve();
  }
}
