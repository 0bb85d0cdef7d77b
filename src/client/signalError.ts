import type { Code } from "@connectrpc/connect";
import { causesOf } from "../alerts/index.ts";
import type { Retry, Violation } from "../signal/index.ts";
import { describeFailure } from "./callFailure.ts";
import { isRetryable, retryForError, type SignalErrorReason } from "./errorReason.ts";
import type { Exchange } from "./exchange.ts";

/** What is known about a failure besides its reason. All of it is optional. */
export interface SignalErrorDetails {
  readonly violations?: readonly Violation[] | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly requestId?: string | undefined;
  readonly code?: Code | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly isForeign?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * Why a signal was not taken. Programs decide by {@link reason} and {@link retry},
 * never by the message. It holds nothing of the request, so no secret either.
 */
export class SignalError extends Error {
  override readonly name = "SignalError";
  /** The cause, by the server's name for it or by the client's. */
  readonly reason: SignalErrorReason;
  /** What may be done about it. */
  readonly retry: Retry;
  /**
   * Whether the same signal may be sent again as it is, under the same idempotency key.
   * False for `CLOCK_SKEW`: that retry needs a corrected timestamp, see {@link retry}.
   */
  readonly retryable: boolean;
  /** How long to wait before a retry, in milliseconds, if the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Every wrong field; empty if the cause is not a field. */
  readonly violations: readonly Violation[];
  /** The `x-request-id` of the answer, by which the server's log names this call. */
  readonly requestId: string | undefined;
  /** The status of the call; undefined if there was no call. */
  readonly code: Code | undefined;
  /** Facts for programs, such as `server_time` and `skew_seconds` of a `CLOCK_SKEW`. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Whether what answered is no Countersign server: a proxy that refuses, another program, the
   * wrong port. Only a person can put that right.
   */
  readonly isForeign: boolean;

  constructor(reason: SignalErrorReason, message: string, details: SignalErrorDetails = {}) {
    super(
      `[${reason}] ${message}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.reason = reason;
    this.retry = retryForError(reason);
    this.retryable = isRetryable(this.retry);
    this.retryAfterMs = details.retryAfterMs;
    this.violations = details.violations ?? [];
    this.requestId = details.requestId;
    this.code = details.code;
    this.metadata = details.metadata ?? {};
    this.isForeign = details.isForeign ?? false;
  }

  /**
   * Makes a `SignalError` of anything thrown: by this client, by a Connect transport of
   * any protocol, by `@grpc/grpc-js`, or by Node.js. A `SignalError` is returned as it is,
   * also one that a transport has wrapped.
   */
  static from(thrown: unknown): SignalError {
    return SignalError.of(thrown, undefined);
  }

  /**
   * The same, with what was met on the wire.
   *
   * @internal
   */
  static of(thrown: unknown, exchange: Exchange | undefined): SignalError {
    const own = ownError(thrown);
    if (own !== undefined) return own;
    const { reason, message, ...details } = describeFailure(thrown, exchange);
    return new SignalError(reason, message, { ...details, cause: thrown });
  }
}

/** The `SignalError` among a thrown value and its causes. */
function ownError(thrown: unknown): SignalError | undefined {
  return causesOf(thrown).find((error) => error instanceof SignalError);
}
