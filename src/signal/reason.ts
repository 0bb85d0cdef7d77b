/**
 * Why a request is refused: the closed list of machine-readable reasons that the
 * server sends and the client acts on. The protocols' status codes for them are the
 * server's business.
 */

/**
 * What a producer may do after a refusal.
 * - `never`: the same request can never succeed.
 * - `same_key`: send it again under the same idempotency key; a repeat is harmless.
 * - `after_delay`: as `same_key`, but not before the delay that the answer names.
 * - `corrected_clock`: once more, with the timestamp corrected by the server's time.
 */
export type Retry = "never" | "same_key" | "after_delay" | "corrected_clock";

const RETRY_BY_REASON = {
  /** The bytes are not a request: broken framing, syntax, or an undefined field. */
  MALFORMED_BODY: "never",
  /** At least one field breaks its rule; the violations name all of them. */
  INVALID_SIGNAL: "never",
  /** Who sent the request could not be proven. */
  UNAUTHENTICATED: "never",
  /** The signature is right, but its timestamp is too far from the server's clock. */
  CLOCK_SKEW: "corrected_clock",
  PRODUCER_DISABLED: "never",
  INSTRUMENT_NOT_ALLOWED: "never",
  /** The bearer token does not allow this call. */
  SCOPE_MISSING: "never",
  /** The key was used before, with another content. */
  IDEMPOTENCY_KEY_REUSED: "never",
  /** The signal arrived after its expire time. */
  SIGNAL_EXPIRED: "never",
  /** The signal has been decided on already. */
  SIGNAL_NOT_PENDING: "never",
  /** What was reviewed is not what is stored. */
  CONTENT_MISMATCH: "never",
  BODY_TOO_LARGE: "never",
  PAYLOAD_TOO_LARGE: "never",
  RATE_LIMITED: "after_delay",
  /** The server has more work queued than it can finish in time. */
  OVERLOADED: "same_key",
  /** The database did not answer in time, or cannot be reached. */
  STORE_UNAVAILABLE: "same_key",
  DEADLINE_EXCEEDED: "same_key",
  /** A fault of the server, logged there under the request id. */
  INTERNAL: "same_key",
} as const satisfies Record<string, Retry>;

/** A machine-readable cause of refusal, as in `google.rpc.ErrorInfo.reason`. */
export type Reason = keyof typeof RETRY_BY_REASON;

/** All reasons there are. */
export const REASONS = Object.keys(RETRY_BY_REASON) as readonly Reason[];

/** What a producer may do after a refusal for this reason. */
export function retryFor(reason: Reason): Retry {
  return RETRY_BY_REASON[reason];
}

/** Whether a text is one of the reasons that this version knows. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(RETRY_BY_REASON, text);
}

/** The domain of every reason, as in `google.rpc.ErrorInfo.domain`. */
export const REASON_DOMAIN = "signals.v1";
