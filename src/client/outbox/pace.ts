/**
 * How many signals the next request may have, and how long to wait before it, by how the last
 * ones ended.
 */
import { askedDelayMs, type Backoff } from "../retry/backoff.ts";
import { SignalError } from "../signalError.ts";
import { dispositionAfter } from "./outcome.ts";
import { fixedWait, type Wait } from "./timers.ts";

/** What a {@link Pace} needs. */
export interface PaceOptions {
  /** The most signals in one request, 1 to 1,000. */
  readonly maxBatchSize: number;
  /** Makes the schedule of waits, which never ends. */
  readonly newBackoff: () => Backoff;
  /** How long to wait while only a person can help, in milliseconds; asked each time. */
  readonly heldDelayMs: () => number;
  readonly observer: PaceObserver;
}

/** Told of waits. Nothing of it may throw. */
export interface PaceObserver {
  /** An attempt failed and is repeated. */
  waiting(error: SignalError, delayMs: number): void;
  /** Nothing can be delivered until a person fixes the cause; told once. */
  held(error: SignalError): void;
  /** After `held`: something was delivered or refused by itself again. */
  released(): void;
}

export class Pace {
  readonly #options: PaceOptions;
  /** The schedule since the last success; `undefined` if nothing has failed since. */
  #backoff: Backoff | undefined;
  #batchSize: number;
  #isHeld = false;
  #lastError: SignalError | undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#batchSize = options.maxBatchSize;
  }

  get batchSize(): number {
    return this.#batchSize;
  }

  /** Whether nothing can be delivered until a person fixes the cause. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** The failure of the last attempt, if it failed and is to be repeated. */
  get lastError(): SignalError | undefined {
    return this.#lastError;
  }

  /** The next request has half of so many signals. */
  halve(size: number): void {
    this.#batchSize = Math.ceil(size / 2);
  }

  /** Nothing is pending any more: the schedule begins anew. */
  rest(): void {
    this.#backoff = undefined;
  }

  /** The way is open: the schedule begins anew, and batches grow again. */
  succeed(): void {
    this.#lastError = undefined;
    this.#backoff = undefined;
    this.#batchSize = Math.min(this.#options.maxBatchSize, this.#batchSize * 2);
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#options.observer.released();
  }

  /**
   * Says how long to wait after a request failed.
   *
   * @param longestMs how long those that expire can wait; the server may have asked for more.
   */
  fail(errors: readonly SignalError[], longestMs: number): Wait {
    const { observer, newBackoff, heldDelayMs } = this.#options;
    const holding = errors.find((error) => dispositionAfter(error) === "hold");
    if (holding !== undefined) {
      this.#lastError = holding;
      if (!this.#isHeld) observer.held(holding);
      this.#isHeld = true;
      return fixedWait(heldDelayMs());
    }
    const [error] = errors as readonly [SignalError];
    // That the client leaves the server alone hides why.
    const isLeftAlone = error.reason === "CIRCUIT_OPEN" && error.cause instanceof SignalError;
    this.#lastError = isLeftAlone ? (error.cause as SignalError) : error;
    this.#backoff ??= newBackoff();
    const scheduledMs = this.#backoff.next(error) ?? heldDelayMs();
    const shortestMs = askedDelayMs(error) ?? 0;
    const delayMs = Math.min(scheduledMs, Math.max(shortestMs, longestMs));
    observer.waiting(error, delayMs);
    return { delayMs, shortestMs };
  }
}
