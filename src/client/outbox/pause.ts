/** Where waiting comes from; tests bring their own. */
export interface OutboxTimers {
  /** The time by a clock that nobody sets, in milliseconds. */
  monotonicMs(): number;
  /** Calls back once after so many milliseconds. @returns how to call it off. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** How long to wait, in milliseconds. */
export interface PauseLength {
  readonly delayMs: number;
  /** It cannot be made shorter than that, though it can be ended. */
  readonly shortestMs: number;
}

/** A wait that can be shortened, or ended before its time. */
export class Pause {
  /** Resolves when the wait is over. */
  readonly over: Promise<void>;
  readonly #timers: OutboxTimers;
  readonly #resolve: () => void;
  readonly #earliestEndMs: number;
  #endMs: number;
  #callOff: () => void;

  constructor({ delayMs, shortestMs }: PauseLength, timers: OutboxTimers) {
    let resolve = () => {};
    this.over = new Promise((fulfil) => {
      resolve = fulfil;
    });
    const nowMs = timers.monotonicMs();
    this.#timers = timers;
    this.#resolve = resolve;
    this.#earliestEndMs = nowMs + shortestMs;
    this.#endMs = nowMs + delayMs;
    this.#callOff = timers.after(delayMs, resolve);
  }

  /** Makes the wait last so long from now on, if it would last longer and may be shorter. */
  shortenTo(delayMs: number): void {
    const nowMs = this.#timers.monotonicMs();
    const endMs = Math.max(nowMs + delayMs, this.#earliestEndMs);
    if (endMs >= this.#endMs) return;
    this.#endMs = endMs;
    this.#callOff();
    this.#callOff = this.#timers.after(endMs - nowMs, this.#resolve);
  }

  /** Ends the wait now. */
  end(): void {
    this.#callOff();
    this.#resolve();
  }
}
