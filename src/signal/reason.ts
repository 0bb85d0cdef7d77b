/**
 * Why a request is refused: the closed list of machine-readable reasons that the server
 * sends and the client acts on. One record for each says all that any side needs to know.
 */

/**
 * What a producer may do after a refusal.
 * - `never`: the same request can never succeed.
 * - `same_key`: send it again under the same idempotency key; a repeat is harmless.
 * - `after_delay`: as `same_key`, but not before the delay that the answer names.
 * - `corrected_clock`: once more, with the timestamp corrected by the server's time.
 */
export type Retry = "never" | "same_key" | "after_delay" | "corrected_clock";

/** The status codes of the Connect protocol that reasons have, by their name there. */
export type RefusalCode =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "already_exists"
  | "failed_precondition"
  | "resource_exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "internal";

/** All that follows from a reason. */
export interface ReasonRecord {
  /** Over gRPC, gRPC-Web and Connect. */
  readonly code: RefusalCode;
  /** The HTTP status over Connect. */
  readonly httpStatus: number;
  /** The HTTP status over REST, where it differs. */
  readonly restStatus?: number;
  readonly retry: Retry;
}

const RECORDS = {
  /** The bytes are not a request: broken framing, syntax, or an undefined field. */
  MALFORMED_BODY: { code: "invalid_argument", httpStatus: 400, retry: "never" },
  /** At least one field breaks its rule; the violations name all of them. */
  INVALID_SIGNAL: { code: "invalid_argument", httpStatus: 400, restStatus: 422, retry: "never" },
  /** Who sent the request could not be proven. */
  UNAUTHENTICATED: { code: "unauthenticated", httpStatus: 401, retry: "never" },
  /** The signature is right, but its timestamp is too far from the server's clock. */
  CLOCK_SKEW: { code: "unauthenticated", httpStatus: 401, retry: "corrected_clock" },
  PRODUCER_DISABLED: { code: "permission_denied", httpStatus: 403, retry: "never" },
  INSTRUMENT_NOT_ALLOWED: { code: "permission_denied", httpStatus: 403, retry: "never" },
  /** The bearer token does not allow this call. */
  SCOPE_MISSING: { code: "permission_denied", httpStatus: 403, retry: "never" },
  /** The key was used before, with another content. */
  IDEMPOTENCY_KEY_REUSED: { code: "already_exists", httpStatus: 409, retry: "never" },
  /** The signal arrived after its expire time. */
  SIGNAL_EXPIRED: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 422,
    retry: "never",
  },
  /** The signal has been decided on already. */
  SIGNAL_NOT_PENDING: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 422,
    retry: "never",
  },
  /** What was reviewed is not what is stored. */
  CONTENT_MISMATCH: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 422,
    retry: "never",
  },
  BODY_TOO_LARGE: { code: "resource_exhausted", httpStatus: 413, retry: "never" },
  PAYLOAD_TOO_LARGE: { code: "resource_exhausted", httpStatus: 413, retry: "never" },
  RATE_LIMITED: { code: "resource_exhausted", httpStatus: 429, retry: "after_delay" },
  /** The server has more work queued than it can finish in time. */
  OVERLOADED: { code: "unavailable", httpStatus: 503, retry: "same_key" },
  /** The database did not answer in time, or cannot be reached. */
  STORE_UNAVAILABLE: { code: "unavailable", httpStatus: 503, retry: "same_key" },
  DEADLINE_EXCEEDED: { code: "deadline_exceeded", httpStatus: 504, retry: "same_key" },
  /** A fault of the server, logged there under the request id. */
  INTERNAL: { code: "internal", httpStatus: 500, retry: "same_key" },
} as const satisfies Record<string, ReasonRecord>;

/** A machine-readable cause of refusal, as in `google.rpc.ErrorInfo.reason`. */
export type Reason = keyof typeof RECORDS;

/** All reasons there are. */
export const REASONS = Object.keys(RECORDS) as readonly Reason[];

/** All that follows from a reason. */
export function recordOf(reason: Reason): ReasonRecord {
  return RECORDS[reason];
}

/** What a producer may do after a refusal for this reason. */
export function retryFor(reason: Reason): Retry {
  return RECORDS[reason].retry;
}

/** Whether a text is one of the reasons that this version knows. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(RECORDS, text);
}

/** The domain of every reason, as in `google.rpc.ErrorInfo.domain`. */
export const REASON_DOMAIN = "signals.v1";
