/**
 * What a failure means for the signals in the outbox: for each reason one decision, all of
 * them in one table. Pure.
 */
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalError } from "../signalError.ts";

/**
 * What to do after a failure.
 * - `dead_letter`: this signal can never succeed. It is set aside and told to a person. If a
 *   whole batch was refused so, ever smaller ones are sent until the signal stands alone.
 * - `expired`: as `dead_letter`, but because it came too late.
 * - `wait`: it passes by itself. Try again by the retry schedule, in the same order.
 * - `hold`: it concerns every signal, and only a person can mend it: a wrong secret, a
 *   disabled producer, a wrong address. To set aside the whole backlog, one by one, because
 *   a secret was changed would be a disaster. So everything stays where it is, a person is
 *   told, and one attempt a minute finds out when it is mended.
 */
export type Disposition = "dead_letter" | "expired" | "wait" | "hold";

const DISPOSITION_BY_REASON: Readonly<Record<SignalErrorReason, Disposition>> = {
  // The signal is wrong, and stays wrong.
  MALFORMED_BODY: "dead_letter",
  INVALID_SIGNAL: "dead_letter",
  INSTRUMENT_NOT_ALLOWED: "dead_letter",
  IDEMPOTENCY_KEY_REUSED: "dead_letter",
  BODY_TOO_LARGE: "dead_letter",
  PAYLOAD_TOO_LARGE: "dead_letter",
  // Refusals of a review, which no ingest gives. If one did, it would mean the one signal.
  SIGNAL_NOT_PENDING: "dead_letter",
  CONTENT_MISMATCH: "dead_letter",

  SIGNAL_EXPIRED: "expired",

  // The server, the way to it, or the moment.
  RATE_LIMITED: "wait",
  OVERLOADED: "wait",
  STORE_UNAVAILABLE: "wait",
  DEADLINE_EXCEEDED: "wait",
  INTERNAL: "wait",
  UNREACHABLE: "wait",
  INVALID_RESPONSE: "wait",
  // The client leaves the server alone for a while, and says for how long.
  CIRCUIT_OPEN: "wait",
  // The client corrects its own clock. If that was not enough, setting the machine's clock is.
  CLOCK_SKEW: "wait",
  // Nobody but the outbox gives its own attempts up; or the client was closed before it.
  CANCELLED: "wait",

  // Something that all signals have in common.
  UNAUTHENTICATED: "hold",
  PRODUCER_DISABLED: "hold",
  SCOPE_MISSING: "hold",
  REFUSED: "hold",
  UNKNOWN: "hold",
};

/** What to do after a failure for this reason. */
export function dispositionOf(reason: SignalErrorReason): Disposition {
  return DISPOSITION_BY_REASON[reason];
}

/** The same after this failure: what answers in place of the server will not stop by itself. */
export function dispositionAfter({ reason, isForeign }: SignalError): Disposition {
  const disposition = dispositionOf(reason);
  return isForeign && disposition === "wait" ? "hold" : disposition;
}
