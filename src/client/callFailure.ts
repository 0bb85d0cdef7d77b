/**
 * Reads what a failed call says about its cause: from the details that the service
 * sends (`google.rpc.ErrorInfo`, `BadRequest`, `RetryInfo`), or if there are none, from
 * the status code and from where the error arose. Pure.
 */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import type { Metadata } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";
import { causesOf, oneLine, parseRetryAfter } from "../alerts/index.ts";
import { isReason, REASON_DOMAIN, type Violation } from "../signal/index.ts";
import type { SignalErrorReason } from "./errorReason.ts";
import type { Exchange } from "./exchange.ts";
import { foreignAnswer, foreignProtocol } from "./foreignAnswer.ts";

const HEADER_REQUEST_ID = "x-request-id";

/** What a thrown value says about the call that failed. */
export interface CallFailure {
  readonly reason: SignalErrorReason;
  /** On one line, whatever is thrown. */
  readonly message: string;
  readonly violations: readonly Violation[];
  readonly retryAfterMs: number | undefined;
  readonly requestId: string | undefined;
  readonly code: Code | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** Whether what answers is no Countersign server, which only a person can put right. */
  readonly isForeign: boolean;
}

/**
 * Describes anything thrown.
 *
 * @param exchange what was met on the wire, if that is known.
 */
export function describeFailure(thrown: unknown, exchange?: Exchange): CallFailure {
  const error = thrown instanceof ConnectError ? thrown : fromGrpcError(thrown);
  const described =
    error === undefined ? describeUnknownError(thrown) : describeConnectError(error);
  if (described.isService) return described;
  const foreign =
    (exchange && foreignAnswer(exchange)) ??
    foreignProtocol(causesOf(thrown), described.message, exchange?.url);
  return foreign === undefined ? described : { ...described, ...foreign, isForeign: true };
}

/** What is described, and whether the service itself did so. */
interface Described extends CallFailure {
  readonly isService: boolean;
}

function describeUnknownError(thrown: unknown): Described {
  const message = oneLine(thrown instanceof Error ? thrown.message : String(thrown));
  const reason = hasNodeError(thrown) ? "UNREACHABLE" : "UNKNOWN";
  return { ...NOTHING_KNOWN, reason, message, code: undefined, isService: false };
}

const NOTHING_KNOWN = {
  violations: [],
  retryAfterMs: undefined,
  requestId: undefined,
  metadata: {},
  isForeign: false,
} as const;

function describeConnectError(error: ConnectError): Described {
  // Others may attach an ErrorInfo too, for instance a gateway; its words are not ours.
  const own = error.findDetails(ErrorInfoSchema).filter(({ domain }) => domain === REASON_DOMAIN);
  const info = own.find(({ reason }) => isReason(reason));
  const violations = error
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations)
    .map(({ field, description }) => ({ field, description }));
  const [retryInfo] = error.findDetails(RetryInfoSchema);
  return {
    reason: info !== undefined && isReason(info.reason) ? info.reason : reasonWithoutInfo(error),
    message: oneLine(error.rawMessage),
    violations,
    retryAfterMs: retryInfo?.retryDelay
      ? delayMs(retryInfo.retryDelay)
      : parseRetryAfter(error.metadata),
    requestId: error.metadata.get(HEADER_REQUEST_ID) ?? undefined,
    code: error.code,
    metadata: { ...info?.metadata },
    isForeign: false,
    isService: own.length > 0,
  };
}

/** Rounded up, since earlier would be too early; a negative delay is none. */
function delayMs({ seconds, nanos }: Duration): number | undefined {
  const ms = Number(seconds) * 1_000 + Math.ceil(nanos / 1_000_000);
  return ms >= 0 ? ms : undefined;
}

/** For an error that the service itself did not describe. */
function reasonWithoutInfo(error: ConnectError): SignalErrorReason {
  if (error.code === Code.Canceled) return "CANCELLED";
  if (error.code === Code.DeadlineExceeded) return "DEADLINE_EXCEEDED";
  if (hasNodeError(error)) return "UNREACHABLE";
  if (error.code === Code.Unavailable || error.code === Code.Aborted) return "UNREACHABLE";
  // An error that came from outside carries the headers of its answer. One without them
  // was raised on this side, when an answer could not be read.
  const cameFromOutside = [...error.metadata.keys()].length > 0;
  return cameFromOutside ? REASON_BY_CODE[error.code] : "INVALID_RESPONSE";
}

/**
 * The meaning of a status without details. It was made by something between client and
 * service: the HTTP status of a proxy, as Connect maps it to a code, or a gateway's own.
 */
const REASON_BY_CODE: Readonly<Record<Code, SignalErrorReason>> = {
  [Code.Canceled]: "CANCELLED",
  // The code of every HTTP status that has none of its own, and of a page in place of an answer.
  [Code.Unknown]: "INVALID_RESPONSE",
  [Code.InvalidArgument]: "MALFORMED_BODY",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "REFUSED",
  [Code.AlreadyExists]: "REFUSED",
  [Code.PermissionDenied]: "REFUSED",
  [Code.ResourceExhausted]: "RATE_LIMITED",
  [Code.FailedPrecondition]: "REFUSED",
  [Code.Aborted]: "UNREACHABLE",
  [Code.OutOfRange]: "REFUSED",
  [Code.Unimplemented]: "REFUSED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNREACHABLE",
  [Code.DataLoss]: "INTERNAL",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/**
 * Whether Node.js reported the failure of a socket, a name lookup or TLS: only its own
 * errors have a text as `code`, such as `ECONNRESET` or `CERT_HAS_EXPIRED`.
 */
function hasNodeError(thrown: unknown): boolean {
  return causesOf(thrown).some((error) => "code" in error && typeof error.code === "string");
}

/**
 * The Connect form of an error that `@grpc/grpc-js` threw, or `undefined` if it is not
 * one. The status codes of both are the same; the details of gRPC errors travel in the
 * trailer `grpc-status-details-bin`.
 */
function fromGrpcError(thrown: unknown): ConnectError | undefined {
  if (!isServiceError(thrown)) return undefined;
  const trailer = headersFrom(thrown.metadata);
  const [details] = thrown.metadata.get(TRAILER_DETAILS);
  if (details !== undefined) {
    trailer.set(TRAILER_DETAILS, Buffer.from(details).toString("base64"));
    try {
      const described = findTrailerError(trailer);
      if (described !== undefined) return described;
    } catch {
      // Details that cannot be read leave the plain status.
    }
  }
  return new ConnectError(thrown.details, thrown.code, trailer, undefined, thrown);
}

const TRAILER_DETAILS = "grpc-status-details-bin";

interface GrpcServiceError extends Error {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

function isServiceError(thrown: unknown): thrown is GrpcServiceError {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "number" &&
    thrown.code in Code &&
    "details" in thrown &&
    typeof thrown.details === "string" &&
    "metadata" in thrown &&
    isMetadata(thrown.metadata)
  );
}

/** By what it can do: the class is not loaded here, since few bots have `@grpc/grpc-js`. */
function isMetadata(value: unknown): value is Metadata {
  const { get, getMap } = (value ?? {}) as Partial<Metadata>;
  return typeof get === "function" && typeof getMap === "function";
}

function headersFrom(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (typeof value === "string") headers.set(name, value);
  }
  return headers;
}
