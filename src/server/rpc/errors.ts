/**
 * How a refusal looks over gRPC, gRPC-Web and Connect.
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
  type Refusal,
  type RefusalCode,
  recordOf,
  retryAfterMsOf,
} from "../../signal/index.ts";
import { retryAfterHeader } from "../http/problem.ts";

const CODES: Readonly<Record<RefusalCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  internal: Code.Internal,
};

/**
 * The error that Connect sends for a refusal, with the details of google.rpc.
 *
 * @param headers of the answer; over gRPC they are among the trailers.
 */
export function connectErrorOf(
  refusal: Refusal,
  headers: Readonly<Record<string, string>> = {},
): ConnectError {
  const code = CODES[recordOf(refusal.reason).code];
  const metadata = { ...headers, ...retryAfterHeader(refusal) };
  return new ConnectError(refusal.message, code, metadata, detailsOf(refusal));
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
