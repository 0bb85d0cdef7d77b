/**
 * Waiting, for the channels and for the client's calls: for how long before a repeat, no longer
 * than until a deadline, and not any more once there is no reason to.
 */

/** How the waits between repeats grow. */
export interface BackoffShape {
  /** The first wait, in milliseconds. */
  readonly baseDelayMs: number;
  /** How much longer each wait is than the one before. */
  readonly factor: number;
  /** The longest wait, in milliseconds. */
  readonly delayMaxMs: number;
  /** The share of a wait that is left to chance, 0 to 1. */
  readonly jitter: number;
}

/**
 * The wait before a retry, in milliseconds. Pure.
 *
 * @param retry counted from 0.
 * @param chance from 0, for the whole wait, up to 1, for one that is shorter by all of `jitter`.
 */
export function exponentialDelayMs(
  retry: number,
  { baseDelayMs, factor, delayMaxMs, jitter }: BackoffShape,
  chance: number,
): number {
  const wholeMs = Math.min(baseDelayMs * factor ** retry, delayMaxMs);
  return Math.round(wholeMs * (1 - jitter * chance));
}

/**
 * Waits, unless there is no more reason to.
 *
 * @returns whether the time has passed; false if one of the signals was aborted before.
 */
export function pause(delayMs: number, signals: readonly AbortSignal[]): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => end(true), delayMs);
    const stop = () => end(false);
    for (const signal of signals) signal.addEventListener("abort", stop);
    if (signals.some(({ aborted }) => aborted)) stop();

    function end(hasPassed: boolean): void {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", stop);
      resolve(hasPassed);
    }
  });
}

/** An operation was not over in time, or was given up before. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/**
 * Waits for an operation until its deadline. Its signal is aborted then, and what it still does
 * is not waited for.
 *
 * @param signal ends it before.
 * @throws DeadlineError; or what the operation threw.
 */
export async function withDeadline<T>(
  operation: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T> {
  if (signal.aborted) throw new DeadlineError();
  const controller = new AbortController();
  const ended = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(new DeadlineError()));
  });
  const end = () => controller.abort();
  const timer = setTimeout(end, timeoutMs);
  signal.addEventListener("abort", end);
  try {
    return await Promise.race([operation(controller.signal), ended]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
