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
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "resource_exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "internal";

/**
 * What a producer's outbox does with a signal that was refused.
 * - `dead_letter`: this signal can never succeed. It is set aside and told to a person. If a
 *   whole batch was refused so, ever smaller ones are sent until the signal stands alone.
 * - `expired`: as `dead_letter`, but because it came too late.
 * - `wait`: it passes by itself. Try again by the retry schedule, in the same order.
 * - `hold`: it concerns every signal, and only a person can fix it: a wrong secret, a disabled
 *   producer, a wrong address. To set aside the whole backlog, one by one, because a secret was
 *   changed would be a disaster. So everything stays where it is, a person is told, and one
 *   attempt a minute finds out when it is fixed.
 */
export type Disposition = "dead_letter" | "expired" | "wait" | "hold";

/** What follows from a failure, whoever found it. */
export interface FailureRecord {
  readonly retry: Retry;
  /** Whether something may be stored all the same. */
  readonly mayBeStored: boolean;
  readonly outbox: Disposition;
  /** Whether the same signal may be sent again once what is advised was done. */
  readonly isFixable: boolean;
  /** What happened, for people, in sentences. */
  readonly meaning: string;
  /** What a person can do about it, in a sentence. */
  readonly advice: string;
}

/** What follows from a reason: all that server, client and outbox know of it. */
export interface ReasonRecord extends FailureRecord {
  /** Over gRPC, gRPC-Web and Connect. */
  readonly code: RefusalCode;
  /** The HTTP status over Connect. */
  readonly httpStatus: number;
  /** The HTTP status over REST, where it differs. */
  readonly restStatus?: number;
}

const RECORDS = {
  MALFORMED_BODY: {
    code: "invalid_argument",
    httpStatus: 400,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning:
      "The bytes are not a request: broken framing, broken syntax, or a field that is not defined.",
    advice: "Fix what the sender writes; the message says where it stopped being understood.",
  },
  INVALID_REQUEST: {
    code: "invalid_argument",
    httpStatus: 400,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning:
      "Fields of a request to read, review or administer break their rules. The violations name all of them.",
    advice: "Fix what the caller sends.",
  },
  INVALID_SIGNAL: {
    code: "invalid_argument",
    httpStatus: 400,
    restStatus: 422,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "Fields of the signal break their rules. The violations name all of them.",
    advice: "Fix what the strategy sends.",
  },
  UNAUTHENTICATED: {
    code: "unauthenticated",
    httpStatus: 401,
    retry: "never",
    mayBeStored: false,
    outbox: "hold",
    isFixable: true,
    meaning:
      "The request is not signed by a known producer, or has no token that is live. The answer says no more, on purpose.",
    advice:
      "Check that the producer id (PRODUCER_ID) and the secret (HMAC_PRODUCER_SECRET) are those that the server knows, and that the URL (OUTBOUND_SERVER_URL) is that of this server. With a token, check that it is whole, and not expired or revoked.",
  },
  CLOCK_SKEW: {
    code: "unauthenticated",
    httpStatus: 401,
    retry: "corrected_clock",
    mayBeStored: false,
    outbox: "wait",
    isFixable: true,
    meaning:
      "The signature is right, but its timestamp is more than 300 s from the server's clock. The metadata has `server_time` and `skew_seconds`.",
    advice: "Set the clock of the sending machine.",
  },
  PRODUCER_DISABLED: {
    code: "permission_denied",
    httpStatus: 403,
    retry: "never",
    mayBeStored: false,
    outbox: "hold",
    isFixable: true,
    meaning: "An operator has disabled this producer.",
    advice: "Ask the operator of the server to enable the producer.",
  },
  INSTRUMENT_NOT_ALLOWED: {
    code: "permission_denied",
    httpStatus: 403,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: true,
    meaning: "The instrument is not among those that this producer may signal.",
    advice: "Ask the operator of the server to allow this producer the instrument.",
  },
  SCOPE_MISSING: {
    code: "permission_denied",
    httpStatus: 403,
    retry: "never",
    mayBeStored: false,
    outbox: "hold",
    isFixable: true,
    meaning: "The caller is known, but may not make this call.",
    advice: "Ask the operator of the server for the permission.",
  },
  NOT_FOUND: {
    code: "not_found",
    httpStatus: 404,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "There is nothing of this name, or nothing that the caller may see.",
    advice: "Check the name, and the producers that the token may see.",
  },
  ALREADY_EXISTS: {
    code: "already_exists",
    httpStatus: 409,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "The name is taken.",
    advice: "Choose another name, or change what has it.",
  },
  ROTATION_UNDER_WAY: {
    code: "already_exists",
    httpStatus: 409,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning:
      "The secret before the newest one still signs, so another rotation would end it before its time.",
    advice: "Wait until it has ended, revoke it, or force the rotation.",
  },
  IDEMPOTENCY_KEY_REUSED: {
    code: "already_exists",
    httpStatus: 409,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "The idempotency key was used before, for another signal.",
    advice: "Fix how the bot makes keys: each signal needs a key of its own.",
  },
  SIGNAL_EXPIRED: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 422,
    retry: "never",
    mayBeStored: false,
    outbox: "expired",
    isFixable: false,
    meaning: "The signal arrived after its `expire_time`.",
    advice: "It is too late for this signal: decide by hand whether to trade still.",
  },
  SIGNAL_NOT_PENDING: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 409,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "The signal has been decided on already.",
    advice: "Look at the decision that stands.",
  },
  CONTENT_MISMATCH: {
    code: "failed_precondition",
    httpStatus: 400,
    restStatus: 409,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "What was reviewed is not what is stored.",
    advice: "Look at the signal again and decide on what it says now.",
  },
  BODY_TOO_LARGE: {
    code: "resource_exhausted",
    httpStatus: 413,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "The request has more bytes than the method takes.",
    advice: "Send less in one request.",
  },
  PAYLOAD_TOO_LARGE: {
    code: "resource_exhausted",
    httpStatus: 413,
    retry: "never",
    mayBeStored: false,
    outbox: "dead_letter",
    isFixable: false,
    meaning: "The payload is too large, and nothing else is wrong.",
    advice: "Send a smaller payload.",
  },
  RATE_LIMITED: {
    code: "resource_exhausted",
    httpStatus: 429,
    retry: "after_delay",
    mayBeStored: false,
    outbox: "wait",
    isFixable: true,
    meaning:
      "The producer sent more signals than it may in so short a time. Or the request is not authenticated, as after `UNAUTHENTICATED`, and too many from its address were not: then the message says so.",
    advice:
      "Send again after the delay that the answer names, or more slowly. Where the message speaks of the address, do what `UNAUTHENTICATED` advises.",
  },
  OVERLOADED: {
    code: "unavailable",
    httpStatus: 503,
    retry: "same_key",
    mayBeStored: false,
    outbox: "wait",
    isFixable: true,
    meaning: "The server has more work than it can finish in time.",
    advice: "Send again under the same idempotency key.",
  },
  STORE_UNAVAILABLE: {
    code: "unavailable",
    httpStatus: 503,
    retry: "same_key",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning: "The database did not answer in time, or cannot be reached.",
    advice: "Send again under the same idempotency key.",
  },
  DEADLINE_EXCEEDED: {
    code: "deadline_exceeded",
    httpStatus: 504,
    retry: "same_key",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning: "There was no answer in time, and the outcome is not known.",
    advice: "Send again under the same idempotency key.",
  },
  INTERNAL: {
    code: "internal",
    httpStatus: 500,
    retry: "same_key",
    mayBeStored: true,
    outbox: "wait",
    isFixable: true,
    meaning: "A fault of the server, which its log tells under the request id.",
    advice:
      "Send again under the same idempotency key, and tell the operator of the server the request id.",
  },
} as const satisfies Record<string, ReasonRecord>;

/** A machine-readable cause of refusal, as in `google.rpc.ErrorInfo.reason`. */
export type Reason = keyof typeof RECORDS;

/** All reasons there are. */
export const REASONS = Object.keys(RECORDS) as readonly Reason[];

/** All that follows from a reason. */
export function recordOf(reason: Reason): ReasonRecord {
  return RECORDS[reason];
}

/** Whether a text is one of the reasons that this version knows. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(RECORDS, text);
}

/** The domain of every reason, as in `google.rpc.ErrorInfo.domain`. */
export const REASON_DOMAIN = "signals.v1";
