/**
 * Why a call failed: the server's reasons, and the few that only a client can find.
 */
import { type Reason, type Retry, retryFor } from "../signal/index.ts";

const CLIENT_RETRY_BY_REASON = {
  /**
   * No answer of the service: it could not be reached, the connection broke, or
   * something in between said that it is unavailable. The signal may have been stored.
   */
  UNREACHABLE: "same_key",
  /** An answer came, but not one of this API. The signal may have been stored. */
  INVALID_RESPONSE: "same_key",
  /**
   * Nothing was sent: the server failed so often just before that the client leaves it
   * alone until `retryAfterMs` have passed.
   */
  CIRCUIT_OPEN: "after_delay",
  /** The caller gave the call up. The signal may have been stored. */
  CANCELLED: "never",
  /** Something in between refused the request, or the address is not that of the service. */
  REFUSED: "never",
  /** Nothing that this version knows. A person has to look. */
  UNKNOWN: "never",
} as const satisfies Record<string, Retry>;

/** A cause that only the client can find: the server never sends it. */
export type ClientReason = keyof typeof CLIENT_RETRY_BY_REASON;

/** The cause of a {@link SignalError}. */
export type SignalErrorReason = Reason | ClientReason;

/** What may be done after a failure for this reason. */
export function retryForError(reason: SignalErrorReason): Retry {
  return isClientReason(reason) ? CLIENT_RETRY_BY_REASON[reason] : retryFor(reason);
}

/**
 * Whether the same signal may be sent again as it is, under the same idempotency key.
 * Not after `CLOCK_SKEW`, which would only come again until the clock is corrected.
 */
export function isRetryable(retry: Retry): boolean {
  return retry === "same_key" || retry === "after_delay";
}

function isClientReason(reason: SignalErrorReason): reason is ClientReason {
  return Object.hasOwn(CLIENT_RETRY_BY_REASON, reason);
}
