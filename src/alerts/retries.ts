/**
 * How a channel repeats an attempt that failed for a passing reason, and when it stops.
 */
import {
  DelegateBackoff,
  ExponentialBackoff,
  handleWhen,
  type IBackoff,
  type IRetryBackoffContext,
  retry,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from "cockatiel";
import { AlertError } from "./alert.ts";

/** How often an attempt is repeated unless told otherwise. */
export const RETRIES_DEFAULT = 3;
export const RETRIES_MAX = 10;

/** How long one alert may take on one channel, repeats and pauses included. */
export const SEND_TIMEOUT_MS = 60_000;
/** How long one attempt may take: an alert is small, so a slow answer is a lost one. */
const ATTEMPT_TIMEOUT_MS = 10_000;

const BACKOFF_INITIAL_MS = 1_000;
const BACKOFF_MAX_MS = 10_000;

const exponential = new ExponentialBackoff({
  initialDelay: BACKOFF_INITIAL_MS,
  maxDelay: BACKOFF_MAX_MS,
});

/** Exponential with jitter, and counted from the end of a pause that the channel asked for. */
const backoff = new DelegateBackoff<IRetryBackoffContext<unknown>, IBackoff<unknown>>(
  (context, last = undefined) => {
    const next = (last ?? exponential).next(context);
    return { delay: askedPauseMs(context) + next.duration, state: next };
  },
);

function askedPauseMs({ result }: IRetryBackoffContext<unknown>): number {
  const error = "error" in result ? (result.error as unknown) : undefined;
  return error instanceof AlertError ? (error.retryAfterMs ?? 0) : 0;
}

/**
 * Attempts until it succeeds, or until the failure is final, or there were as many repeats
 * as allowed, or the time is up.
 *
 * @param attempt throws an `AlertError`, and gives up when its signal is aborted.
 * @param signal ends it at once, whatever it is waiting for.
 * @throws AlertError the last failure.
 */
export async function withRetries(
  attempt: (signal: AbortSignal) => Promise<void>,
  retries: number,
  signal: AbortSignal,
): Promise<void> {
  const policy = wrap(
    timeout(SEND_TIMEOUT_MS, TimeoutStrategy.Aggressive),
    // The pauses hold nothing up: the deadline above keeps the process while one is waited for.
    retry(handleWhen(isPassing), { maxAttempts: retries, backoff }).dangerouslyUnref(),
    timeout(ATTEMPT_TIMEOUT_MS, TimeoutStrategy.Aggressive),
  );
  try {
    signal.throwIfAborted();
    await policy.execute((context) => attempt(context.signal), signal);
  } catch (error) {
    throw error instanceof AlertError ? error : noAnswer();
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof AlertError ? error.retryable : error instanceof TaskCancelledError;
}

/** The attempt was given up before an answer came. */
export function noAnswer(): AlertError {
  return new AlertError("TIMEOUT", "No answer came in time.");
}
