/**
 * Repeats an operation that fails for a passing reason.
 */
import { pause } from "../../alerts/index.ts";
import { type BackoffOptions, createBackoff } from "./backoff.ts";

/** One attempt, as the operation sees it. */
export interface RetryAttempt {
  /** Counted from 1. */
  readonly attempt: number;
  /** Aborted when the caller gives up, or when the budget is used up. */
  readonly signal: AbortSignal;
  /** How much of the budget is left now, in milliseconds; above 0 when the attempt starts. */
  remainingMs(): number;
}

/** An attempt that failed and will be repeated. */
export interface PlannedRetry {
  /** The attempt that failed, counted from 1. */
  readonly attempt: number;
  /** What it threw. */
  readonly error: unknown;
  /** How long the wait will be, in milliseconds. */
  readonly delayMs: number;
}

/** When to repeat, and when to end. */
export interface WithRetryOptions extends BackoffOptions {
  /** Gives everything up when it is aborted; a wait ends at once. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Ends the repeating when it is aborted: a wait ends at once with the last failure, and
   * an attempt that is under way is the last one.
   */
  readonly stopSignal?: AbortSignal | undefined;
  /** Told of each retry before its wait. What it throws ends the call. */
  readonly onRetry?: ((retry: PlannedRetry) => void) | undefined;
}

/**
 * Repeats an operation while it fails for a passing reason, as {@link BackoffOptions} say.
 * It must be harmless to repeat: a signal is, under its idempotency key.
 *
 * ```ts
 * const price = await withRetry(({ signal }) => fetchPrice({ signal }), {
 *   baseDelayMs: 500,
 *   isRetryable: (error) => error instanceof PriceFeedError,
 * });
 * ```
 *
 * @returns what the first attempt returned that did not fail.
 * @throws whatever the last attempt threw; the reason of `signal` if that ended a wait.
 * @throws ConfigError naming every wrong option.
 */
export async function withRetry<T>(
  operation: (attempt: RetryAttempt) => Promise<T>,
  { signal, stopSignal, onRetry, ...schedule }: WithRetryOptions = {},
): Promise<T> {
  const backoff = createBackoff(schedule);
  signal?.throwIfAborted();
  const endings = [signal, stopSignal].filter((each) => each !== undefined);
  const budget = createBudget(backoff.remainingMs(), signal);
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { remainingMs } = backoff;
        return await operation({ attempt, signal: budget.signal, remainingMs });
      } catch (error) {
        const isEnded = endings.some(({ aborted }) => aborted);
        const delayMs = isEnded ? undefined : backoff.next(error);
        if (delayMs === undefined) throw error;
        onRetry?.({ attempt, error, delayMs });
        const hasWaited = await pause(delayMs, endings);
        signal?.throwIfAborted();
        // A machine that was asleep can wake long after the wait should have ended.
        if (!hasWaited || backoff.remainingMs() <= 0) throw error;
      }
    }
  } finally {
    budget.release();
  }
}

/** A signal that is aborted when the budget is used up, or with the caller's own. */
function createBudget(budgetMs: number, signal: AbortSignal | undefined) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  const timer = budgetMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(abort, budgetMs);
  signal?.addEventListener("abort", abort);
  return {
    signal: controller.signal,
    release() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}
