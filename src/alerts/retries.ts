/**
 * How a channel repeats an attempt that failed for a passing reason, and when it stops.
 */
import { AlertError } from "./alert.ts";
import { DeadlineError, exponentialDelayMs, pause, withDeadline } from "./waiting.ts";

/** How often an attempt is repeated unless told otherwise. */
export const RETRIES_DEFAULT = 3;
export const RETRIES_MAX = 10;

/** How long one alert may take on one channel, repeats and pauses included. */
export const SEND_TIMEOUT_MS = 60_000;
/** How long one attempt may take: an alert is small, so a slow answer is a lost one. */
const ATTEMPT_TIMEOUT_MS = 10_000;

const BACKOFF = { baseDelayMs: 1_000, factor: 2, delayMaxMs: 10_000, jitter: 0.5 } as const;

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
  const repeated = async (untilEnd: AbortSignal) => {
    for (let retry = 0; ; retry += 1) {
      try {
        return await withDeadline(attempt, ATTEMPT_TIMEOUT_MS, untilEnd);
      } catch (error) {
        if (retry >= retries || !isPassing(error)) throw error;
        const ownMs = exponentialDelayMs(retry, BACKOFF, Math.random());
        if (!(await pause(askedPauseMs(error) + ownMs, [untilEnd]))) throw error;
      }
    }
  };
  try {
    await withDeadline(repeated, SEND_TIMEOUT_MS, signal);
  } catch (error) {
    throw error instanceof AlertError ? error : noAnswer();
  }
}

/** The jitter is counted from the end of a pause that the channel asked for. */
function askedPauseMs(error: unknown): number {
  return error instanceof AlertError ? (error.retryAfterMs ?? 0) : 0;
}

function isPassing(error: unknown): boolean {
  return error instanceof AlertError ? error.retryable : error instanceof DeadlineError;
}

/** The attempt was given up before an answer came. */
export function noAnswer(): AlertError {
  return new AlertError("TIMEOUT", "No answer came in time.");
}
