/**
 * One call, from its first attempt to the one whose outcome is final.
 */
import type { CallOptions } from "@connectrpc/connect";
import type { CorrectedClock } from "./clock.ts";
import type { Circuit } from "./retry/circuit.ts";
import type { ResolvedRetryOptions } from "./retry/retryOptions.ts";
import {
  type PlannedRetry,
  type RetryAttempt,
  type WithRetryOptions,
  withRetry,
} from "./retry/withRetry.ts";
import { SignalError } from "./signalError.ts";

/** A call that may be made as often as it takes. */
export interface RepeatableCall<Message, Result> {
  /**
   * Makes the message. Called once, and once more if the first attempt is refused for the
   * wrong time of this machine: a message without a time of its own got that one.
   */
  make(): Message;
  /** Sends it once. Each time it is signed anew. */
  send(message: Message, options: CallOptions): Promise<Result>;
}

/** How to make it. */
export interface CallSettings {
  /** How long one attempt may take. */
  readonly timeoutMs: number;
  /** How failed attempts are repeated; false for a single attempt. */
  readonly retry: ResolvedRetryOptions | false;
  /** Gives everything up when it is aborted. */
  readonly signal: AbortSignal | undefined;
  /** When it is aborted, the attempt under way is the last, and no retry is waited for. */
  readonly stopSignal: AbortSignal;
  readonly clock: CorrectedClock;
  /** Whether an attempt is made again at once when the clock was corrected. */
  readonly retryClockSkew: boolean;
  readonly circuit: Circuit;
  readonly observer: CallObserver;
}

/** Told what happens before the outcome. */
export interface CallObserver {
  /** An attempt failed, and will be repeated. */
  retrying(retry: PlannedRetry & { readonly error: SignalError }): void;
  /** The machine's clock was wrong by so many seconds, and is corrected from now on. */
  clockCorrected(offsetSeconds: number): void;
}

/**
 * Makes a call, as often as it takes and the settings allow.
 *
 * @throws SignalError the last failure, or `CANCELLED` if the caller gave up.
 */
export async function callRepeatedly<Message, Result>(
  call: RepeatableCall<Message, Result>,
  options: CallSettings,
): Promise<Result> {
  const { clock, circuit, observer, signal } = options;
  let message = call.make();
  let mayCorrectClock = true;

  async function attempt(remainingMs: number): Promise<Result> {
    const reading = clock.read();
    const result = await circuit.run(() => sendOnce(call, message, remainingMs, options));
    clock.confirm(reading);
    const jumpedSeconds = clock.takeJump();
    if (jumpedSeconds !== undefined) observer.clockCorrected(jumpedSeconds);
    return result;
  }

  async function attemptInTime({ attempt: number, remainingMs }: RetryAttempt): Promise<Result> {
    try {
      return await attempt(remainingMs());
    } catch (thrown) {
      const error = SignalError.from(thrown);
      const mayCorrect = mayCorrectClock && error.reason === "CLOCK_SKEW" && remainingMs() > 0;
      const offsetSeconds = mayCorrect ? clock.correctBy(error) : undefined;
      if (offsetSeconds === undefined) throw error;
      mayCorrectClock = false;
      observer.clockCorrected(offsetSeconds);
      if (!options.retryClockSkew) throw error;
      // The server refused it unread. An earlier attempt may have been stored as it was.
      if (number === 1) message = call.make();
      return await attempt(remainingMs());
    }
  }

  try {
    return await withRetry(attemptInTime, retryOptions(options));
  } catch (thrown) {
    throw failure(thrown, signal);
  }
}

async function sendOnce<Message, Result>(
  call: RepeatableCall<Message, Result>,
  message: Message,
  remainingMs: number,
  options: CallSettings,
): Promise<Result> {
  try {
    return await call.send(message, callOptions(remainingMs, options));
  } catch (thrown) {
    throw failure(thrown, options.signal);
  }
}

function callOptions(remainingMs: number, { timeoutMs, signal }: CallSettings): CallOptions {
  const attemptMs = Math.max(1, Math.floor(Math.min(timeoutMs, remainingMs)));
  return signal === undefined ? { timeoutMs: attemptMs } : { timeoutMs: attemptMs, signal };
}

function retryOptions(options: CallSettings): WithRetryOptions {
  const { retry, timeoutMs, signal, stopSignal, observer } = options;
  const schedule = retry === false ? { budgetMs: timeoutMs, isRetryable: () => false } : retry;
  return {
    ...schedule,
    signal,
    stopSignal,
    onRetry: (planned) => observer.retrying({ ...planned, error: SignalError.from(planned.error) }),
  };
}

/**
 * Tells the caller's own cancellation from one by the other side, which a transport gives
 * the same code: a server that resets a call while it shuts down has not been told to
 * forget the signal.
 */
function failure(thrown: unknown, signal: AbortSignal | undefined): SignalError {
  // What the service answered just before stays true.
  const error = SignalError.from(thrown);
  if (signal?.aborted && error.requestId === undefined) return cancelled(signal.reason);
  if (error.reason !== "CANCELLED") return error;
  const message = "The connection was closed before the answer came.";
  return new SignalError("UNREACHABLE", message, { code: error.code, cause: thrown });
}

function cancelled(cause: unknown): SignalError {
  return new SignalError("CANCELLED", "The caller gave the call up.", { cause });
}
