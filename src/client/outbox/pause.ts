/** Where waiting comes from; tests bring their own. */
export interface OutboxTimers {
  /** Calls back once after so many milliseconds. @returns how to call it off. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** A wait that can be shortened, or ended before its time. */
export class Pause {
  /** Resolves when the wait is over. */
  readonly over: Promise<void>;
  readonly #timers: OutboxTimers;
  readonly #nowMs: () => number;
  readonly #resolve: () => void;
  #endsAtMs = Number.POSITIVE_INFINITY;
  #callOff: () => void = () => {};

  constructor(delayMs: number, timers: OutboxTimers, nowMs: () => number) {
    this.#timers = timers;
    this.#nowMs = nowMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolve = resolve;
    this.shortenTo(delayMs);
  }

  /** Makes the wait last so long from now on, unless it is over before. */
  shortenTo(delayMs: number): void {
    const endsAtMs = this.#nowMs() + delayMs;
    if (endsAtMs >= this.#endsAtMs) return;
    this.#endsAtMs = endsAtMs;
    this.#callOff();
    this.#callOff = this.#timers.after(delayMs, this.#resolve);
  }

  /** Ends the wait now. */
  end(): void {
    this.#callOff();
    this.#resolve();
  }
}
