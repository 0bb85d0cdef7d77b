/**
 * How a refusal looks in each protocol: one table for the codes, one function for the
 * Connect protocols, one for REST.
 */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.ts";
import {
  REASON_DOMAIN,
  type Reason,
  type Refusal,
  refuse,
  retryFor,
  type Violation,
} from "../../signal/index.ts";

interface Codes {
  readonly code: Code;
  /** The HTTP status over Connect. */
  readonly http: number;
  /** The HTTP status over REST, where it differs. */
  readonly rest?: number;
}

const CODES: Readonly<Record<Reason, Codes>> = {
  MALFORMED_BODY: { code: Code.InvalidArgument, http: 400 },
  INVALID_SIGNAL: { code: Code.InvalidArgument, http: 400, rest: 422 },
  UNAUTHENTICATED: { code: Code.Unauthenticated, http: 401 },
  CLOCK_SKEW: { code: Code.Unauthenticated, http: 401 },
  PRODUCER_DISABLED: { code: Code.PermissionDenied, http: 403 },
  INSTRUMENT_NOT_ALLOWED: { code: Code.PermissionDenied, http: 403 },
  SCOPE_MISSING: { code: Code.PermissionDenied, http: 403 },
  IDEMPOTENCY_KEY_REUSED: { code: Code.AlreadyExists, http: 409 },
  SIGNAL_EXPIRED: { code: Code.FailedPrecondition, http: 400, rest: 422 },
  SIGNAL_NOT_PENDING: { code: Code.FailedPrecondition, http: 400, rest: 422 },
  CONTENT_MISMATCH: { code: Code.FailedPrecondition, http: 400, rest: 422 },
  BODY_TOO_LARGE: { code: Code.ResourceExhausted, http: 413 },
  PAYLOAD_TOO_LARGE: { code: Code.ResourceExhausted, http: 413 },
  RATE_LIMITED: { code: Code.ResourceExhausted, http: 429 },
  OVERLOADED: { code: Code.Unavailable, http: 503 },
  STORE_UNAVAILABLE: { code: Code.Unavailable, http: 503 },
  DEADLINE_EXCEEDED: { code: Code.DeadlineExceeded, http: 504 },
  INTERNAL: { code: Code.Internal, http: 500 },
};

/** Long enough not to hammer a server in trouble, short enough for a trading signal. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/** The error that Connect sends for a refusal, with the details of google.rpc. */
export function connectErrorOf(refusal: Refusal): ConnectError {
  const { code } = CODES[refusal.reason];
  return new ConnectError(refusal.message, code, retryAfterHeader(refusal), detailsOf(refusal));
}

/** The HTTP status of a refusal over Connect, which Connect's codes alone cannot all express. */
export function connectHttpStatus(reason: Reason): number {
  return CODES[reason].http;
}

/** The HTTP status of a refusal over REST. */
export function restHttpStatus(reason: Reason): number {
  const { http, rest } = CODES[reason];
  return rest ?? http;
}

/** What a caller is told of a fault of the server: nothing but where to look. */
export function internalRefusal(requestId: string): Refusal {
  return refuse(
    "INTERNAL",
    `The server failed, and it is not known whether anything is stored. Its log tells more under the request id ${requestId}.`,
  );
}

/** The `Retry-After` header (RFC 9110, section 10.2.3) in whole seconds, rounded up. */
export function retryAfterHeader(refusal: Refusal): Record<string, string> {
  const retryAfterMs = retryAfterMsOf(refusal);
  if (retryAfterMs === undefined) return {};
  return { "retry-after": Math.ceil(retryAfterMs / 1000).toString() };
}

/** After what can be retried, a caller is told when, also if the cause does not say. */
function retryAfterMsOf({ reason, retryAfterMs }: Refusal): number | undefined {
  const isRetried = retryFor(reason) === "same_key";
  return retryAfterMs ?? (isRetried ? DEFAULT_RETRY_AFTER_MS : undefined);
}

/** Problem details for REST (RFC 9457), with the same facts as the RPC error details. */
export interface Problem {
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly reason?: Reason;
  readonly violations?: readonly Violation[];
  readonly request_id: string;
  readonly [fact: string]: unknown;
}

/** The problem details of a refusal. Fields are named as in REST's flat JSON. */
export function problemOf(refusal: Refusal, title: string, requestId: string): Problem {
  return {
    ...refusal.metadata,
    type: "about:blank",
    title,
    status: restHttpStatus(refusal.reason),
    detail: refusal.message,
    reason: refusal.reason,
    violations: refusal.violations,
    request_id: requestId,
  };
}

type OutgoingDetails = NonNullable<ConstructorParameters<typeof ConnectError>[3]>;

function detailsOf(refusal: Refusal): OutgoingDetails {
  const { reason, metadata, violations } = refusal;
  const retryAfterMs = retryAfterMsOf(refusal);
  const details: OutgoingDetails = [
    { desc: ErrorInfoSchema, value: { reason, domain: REASON_DOMAIN, metadata: { ...metadata } } },
  ];
  if (violations.length > 0) {
    details.push({ desc: BadRequestSchema, value: { fieldViolations: [...violations] } });
  }
  if (retryAfterMs !== undefined) {
    details.push({ desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryAfterMs) } });
  }
  return details;
}
