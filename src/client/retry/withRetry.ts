import { ConstantBackoff, handleWhen, noop, retry, TimeoutStrategy, timeout } from "cockatiel";
import { type BackoffOptions, createBackoff } from "./backoff.ts";
import { pause } from "./pause.ts";

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
  const signals = [signal, stopSignal].filter((each) => each !== undefined);
  let attempts = 0;
  let planned: PlannedRetry | undefined;

  function isRepeated(error: unknown): boolean {
    if (signals.some(({ aborted }) => aborted)) return false;
    const delayMs = backoff.next(error);
    if (delayMs === undefined) return false;
    planned = { attempt: attempts, error, delayMs };
    onRetry?.(planned);
    return true;
  }

  async function attempt(attemptSignal: AbortSignal): Promise<T> {
    if (planned !== undefined) await waitFor(planned);
    // A machine that was asleep can wake long after the wait should have ended.
    if (planned !== undefined && backoff.remainingMs() <= 0) throw planned.error;
    attempts += 1;
    return operation({
      attempt: attempts,
      signal: attemptSignal,
      remainingMs: backoff.remainingMs,
    });
  }

  async function waitFor({ delayMs, error }: PlannedRetry): Promise<void> {
    if (await pause(delayMs, signals)) return;
    signal?.throwIfAborted();
    throw error;
  }

  // The wait is made at the start of an attempt, since nothing could end one of cockatiel's.
  const repeat = retry(handleWhen(isRepeated), { backoff: new ConstantBackoff(0) });
  return withinBudget(backoff.remainingMs()).execute(
    (budget) => repeat.execute(() => attempt(budget.signal), budget.signal),
    signal,
  );
}

/** Aborts what is still going on when the budget is used up. */
function withinBudget(budgetMs: number) {
  if (budgetMs === Number.POSITIVE_INFINITY) return noop;
  const options = { strategy: TimeoutStrategy.Cooperative, abortOnReturn: false };
  return timeout(budgetMs, options);
}
