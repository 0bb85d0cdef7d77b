/**
 * Why a call failed: the server's reasons, and the few that only a client can find.
 */
import {
  type FailureRecord,
  isReason,
  type Reason,
  type Retry,
  recordOf,
} from "../signal/index.ts";

const CLIENT_RECORDS = {
  UNREACHABLE: {
    retry: "same_key",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning:
      "No answer of the service: it could not be reached, the connection broke, or something in between said that it is unavailable.",
    advice:
      "Check that the server runs and that its URL is right, then send again under the same idempotency key.",
  },
  INVALID_RESPONSE: {
    retry: "same_key",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning: "An answer came, but not one of this API.",
    advice:
      "Check that the URL is that of the server's public port, then send again under the same idempotency key.",
  },
  CIRCUIT_OPEN: {
    retry: "after_delay",
    mayBeStored: false,
    outbox: "wait",
    isFixable: true,
    meaning:
      "Nothing was sent: the server failed so often just before that the client leaves it alone until `retryAfterMs` have passed.",
    advice: "Send again after that time.",
  },
  CANCELLED: {
    retry: "never",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning: "The caller gave the call up.",
    advice: "Look the signal up before you send it again, under the same idempotency key.",
  },
  REFUSED: {
    retry: "never",
    mayBeStored: false,
    outbox: "hold",
    isFixable: true,
    meaning: "Something in between refused the request, or the address is not that of the service.",
    advice:
      "Check that the URL is that of the server, and that nothing on the way refuses the call.",
  },
  UNKNOWN: {
    retry: "never",
    mayBeStored: true,
    outbox: "hold",
    isFixable: true,
    meaning: "Nothing that this version knows.",
    advice: "Look at the message, which is that of whatever failed.",
  },
} as const satisfies Record<string, FailureRecord>;

/** A cause that only the client can find: the server never sends it. */
export type ClientReason = keyof typeof CLIENT_RECORDS;

/** The cause of a {@link SignalError}. */
export type SignalErrorReason = Reason | ClientReason;

/** All reasons that only the client can find. */
export const CLIENT_REASONS = Object.keys(CLIENT_RECORDS) as readonly ClientReason[];

/** All that follows from a failure for this reason. */
export function failureRecordOf(reason: SignalErrorReason): FailureRecord {
  return isClientReason(reason) ? CLIENT_RECORDS[reason] : recordOf(reason);
}

/** What may be done after a failure for this reason. */
export function retryForError(reason: SignalErrorReason): Retry {
  return failureRecordOf(reason).retry;
}

/**
 * Whether the same signal may be sent again as it is, under the same idempotency key.
 * Not after `CLOCK_SKEW`, which would only come again until the clock is corrected.
 */
export function isRetryable(retry: Retry): boolean {
  return retry === "same_key" || retry === "after_delay";
}

/** Whether a text is one of the reasons that this version knows. */
export function isErrorReason(text: string): text is SignalErrorReason {
  return isReason(text) || isClientReason(text);
}

function isClientReason(reason: string): reason is ClientReason {
  return Object.hasOwn(CLIENT_RECORDS, reason);
}
