/**
 * When to try again: one schedule for the client's own retries and for whatever schedules
 * its own attempts, such as an outbox.
 */
import { exponentialDelayMs } from "../../alerts/index.ts";
import { monotonicMs } from "../clock.ts";
import { SignalError } from "../signalError.ts";
import { DELAY_MS_MAX, type RetryOptions, resolveRetryOptions } from "./retryOptions.ts";

/**
 * The longest delay that is waited for because the other side asks for it, in milliseconds. The
 * server itself names seconds; a proxy may name days, by mistake or for a page of its own.
 */
const ASKED_DELAY_MS_MAX = 300_000;

/** How long a failure asks to wait, as far as it is obeyed, in milliseconds. */
export function askedDelayMs({ reason, retryAfterMs }: SignalError): number | undefined {
  const maxMs = reason === "CIRCUIT_OPEN" ? DELAY_MS_MAX : ASKED_DELAY_MS_MAX;
  return retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, maxMs);
}

/** When to try again, and what is worth it. */
export interface BackoffOptions extends RetryOptions {
  /**
   * As in {@link RetryOptions}, but it may be `Infinity`, for a scheduler that ends the
   * attempts by a rule of its own.
   */
  readonly retriesMax?: number | undefined;
  /** As in {@link RetryOptions}, from the making of the schedule on; it may be `Infinity`. */
  readonly budgetMs?: number | undefined;
  /**
   * Whether a failure is worth another attempt. Defaults to `SignalError.from(thrown).retryable`:
   * what the error table calls retryable, and every failed socket.
   */
  readonly isRetryable?: ((thrown: unknown) => boolean) | undefined;
  /**
   * How long the other side asked to be left alone, in milliseconds. Defaults to
   * `SignalError.from(thrown).retryAfterMs`.
   */
  readonly retryAfterMs?: ((thrown: unknown) => number | undefined) | undefined;
  /** A number from 0 up to, but not, 1. Defaults to `Math.random`. */
  readonly random?: (() => number) | undefined;
}

/** The schedule of one call. Make another for the next call, or after a success. */
export interface Backoff {
  /**
   * How long to wait after this failure before the next attempt, in milliseconds; 0 is at
   * once. To be called once for each failure.
   *
   * @returns `undefined` if there is to be none: because the failure is not worth it, or
   *   because retries or budget are used up, or would be before the wait is over.
   */
  next(thrown: unknown): number | undefined;

  /** How much of the budget is left, in milliseconds; 0 or less if nothing is. */
  readonly remainingMs: () => number;
}

/**
 * Makes a schedule.
 *
 * - The first broken connection (`UNREACHABLE`) that names no delay is followed by an attempt at once.
 * - Then the waits grow exponentially up to their cap, each shortened by chance.
 * - A delay that the server named is waited for at least, up to five minutes: what stands between
 *   may name any number, signals perish, and one small request in five minutes burdens nobody.
 * - An open circuit (`CIRCUIT_OPEN`) is waited for without using up a retry, since nothing
 *   was sent.
 *
 * @throws ConfigError naming every wrong option.
 */
export function createBackoff({
  isRetryable = (thrown) => SignalError.from(thrown).retryable,
  retryAfterMs = (thrown) => SignalError.from(thrown).retryAfterMs,
  random = Math.random,
  ...schedule
}: BackoffOptions = {}): Backoff {
  const options = resolveRetryOptions(schedule);
  const startedAtMs = monotonicMs();
  let retries = 0;
  let mayRetryAtOnce = options.immediateRetry;

  function delayMs(thrown: unknown): number | undefined {
    const { reason } = SignalError.from(thrown);
    const named = retryAfterMs(thrown);
    const maxMs = reason === "CIRCUIT_OPEN" ? DELAY_MS_MAX : ASKED_DELAY_MS_MAX;
    const namedMs = named === undefined ? 0 : lengthened(named, options.jitter, random(), maxMs);
    if (reason === "CIRCUIT_OPEN" && namedMs > 0) return namedMs;
    if (mayRetryAtOnce && reason === "UNREACHABLE" && named === undefined) {
      mayRetryAtOnce = false;
      return 0;
    }
    if (retries >= options.retriesMax) return undefined;
    const ownMs = exponentialDelayMs(retries, options, random());
    retries += 1;
    return Math.max(ownMs, namedMs);
  }

  function remainingMs(): number {
    return options.budgetMs - (monotonicMs() - startedAtMs);
  }

  return {
    next(thrown) {
      const waitMs = isRetryable(thrown) ? delayMs(thrown) : undefined;
      return waitMs !== undefined && waitMs < remainingMs() ? waitMs : undefined;
    },
    remainingMs,
  };
}

/** Never shorter, up to the longest wait: earlier than the server said would be too early. */
function lengthened(namedMs: number, jitter: number, chance: number, maxMs: number): number {
  return Math.min(Math.ceil(namedMs * (1 + jitter * chance)), maxMs);
}
