/**
 * From the server's answer to the result that an author sees. Pure.
 */

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type {
  IngestBatchRequest,
  IngestBatchResponse,
  IngestRequest,
  IngestResponse,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus as ProtoSignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import { counted } from "../alerts/index.ts";
import {
  type Instant,
  isReason,
  type Retry,
  type SignalStatus,
  type Violation,
  type WithoutOtherFields,
} from "../signal/index.ts";
import { formatTimestamp } from "../signing/index.ts";
import { isRetryable, retryForError, type SignalErrorReason } from "./errorReason.ts";
import { SignalError } from "./signalError.ts";

/** What every answer of the server tells about one signal. */
interface Answer {
  /** The key that names the signal: the one given, or the one made for it. */
  readonly idempotencyKey: string;
  /** A sentence for people. */
  readonly message: string;
  /** When the server first received the signal, by its own clock. */
  readonly serverTime: Date | undefined;
  /** The same to the nanosecond, in RFC 3339, such as `2025-10-25T14:30:45.123456789Z`. */
  readonly serverTimestamp: string | undefined;
}

/** The signal is on the server's disk, now (`stored`) or since an earlier call (`duplicate`). */
export interface StoredResult extends Answer {
  readonly outcome: "stored" | "duplicate";
  /** The server's id of the signal, a UUIDv7. */
  readonly signalId: string;
  /** Where the signal stands now; `unknown` if this version has no name for it. */
  readonly status: SignalStatus | "unknown";
}

/** The signal would have been stored, but `validateOnly` was asked for. */
export interface ValidResult extends Answer {
  readonly outcome: "valid";
  readonly signalId: undefined;
  /** The status that it would have got. */
  readonly status: SignalStatus | "unknown";
}

/** The client is switched off. Nothing was sent. */
export interface DisabledResult {
  readonly outcome: "disabled";
  readonly signalId: undefined;
  readonly status: undefined;
  readonly idempotencyKey: string;
  readonly message: string;
  readonly serverTime: undefined;
  readonly serverTimestamp: undefined;
}

/** One item of a batch was not stored; its neighbours are not concerned. */
export interface RefusedResult extends Answer {
  readonly outcome: "refused";
  readonly signalId: undefined;
  readonly status: "rejected";
  /** Why. As in a `SignalError`, and so are the next three. */
  readonly reason: SignalErrorReason;
  readonly retry: Retry;
  readonly retryable: boolean;
  /** Every wrong field, by its path within the item; empty if the cause is not a field. */
  readonly violations: readonly Violation[];
}

/** What became of one signal. */
export type IngestResult = StoredResult | ValidResult | DisabledResult;

/** What became of one item of a batch. */
export type IngestItemResult = IngestResult | RefusedResult;

/** @throws SignalError `INVALID_RESPONSE` if the answer says neither yes nor no. */
export function ingestResult(request: IngestRequest, response: IngestResponse): IngestResult {
  const result = itemResult(request, response);
  // The server refuses a single signal with an error, never in an answer.
  if (result.outcome === "refused") throw invalidResponse("is a refusal in place of an error");
  return result;
}

/** @throws SignalError `INVALID_RESPONSE` unless it has one clear answer for each item. */
export function ingestBatchResults(
  { requests }: IngestBatchRequest,
  { responses }: IngestBatchResponse,
): IngestItemResult[] {
  if (responses.length !== requests.length) {
    throw invalidResponse(
      `has ${counted(responses.length, "item")} for ${counted(requests.length, "signal")}`,
    );
  }
  return responses.map((response, index) => itemResult(requests[index] as IngestRequest, response));
}

/** The result of a client that is switched off. */
export function disabledResult(idempotencyKey: string): DisabledResult {
  return {
    outcome: "disabled",
    signalId: undefined,
    status: undefined,
    idempotencyKey,
    message: "The client is switched off. Nothing was sent.",
    serverTime: undefined,
    serverTimestamp: undefined,
  };
}

/** All that an answer tells, so that the compiler asks what a new field of it means. */
type WholeResponse = WithoutOtherFields<
  IngestResponse,
  "signalId" | "status" | "serverTimestamp" | "message" | "errors" | "duplicate"
>;

function itemResult(request: IngestRequest, response: WholeResponse): IngestItemResult {
  const { serverTimestamp: timestamp, message, errors, signalId } = response;
  const instant = timestamp && instantOf(timestamp);
  const serverTime = instant === undefined ? undefined : dateOf(instant);
  // As text, since JSON.stringify throws on a bigint.
  const serverTimestamp = instant === undefined ? undefined : formatTimestamp(instant);
  const { idempotencyKey } = request;
  const answer: Answer = { idempotencyKey, message, serverTime, serverTimestamp };

  const [cause] = errors;
  if (cause !== undefined) {
    const reason: SignalErrorReason = isReason(cause.reason) ? cause.reason : "UNKNOWN";
    const retry = retryForError(reason);
    const retryable = isRetryable(retry);
    const violations = errors
      .filter(({ field }) => field !== "")
      .map(({ field, description }) => ({ field, description }));
    const refusal = { reason, retry, retryable, violations };
    return { outcome: "refused", signalId: undefined, status: "rejected", ...refusal, ...answer };
  }
  const status = STATUS_FROM_PROTO.get(response.status) ?? "unknown";
  if (signalId !== "") {
    return { outcome: response.duplicate ? "duplicate" : "stored", signalId, status, ...answer };
  }
  if (request.validateOnly) return { outcome: "valid", signalId: undefined, status, ...answer };
  // Only an id proves that the signal was stored; an empty answer may come from anywhere.
  throw invalidResponse("names no signal_id");
}

const STATUS_FROM_PROTO: ReadonlyMap<ProtoSignalStatus, SignalStatus> = new Map([
  [ProtoSignalStatus.RECEIVED, "received"],
  [ProtoSignalStatus.PENDING_APPROVAL, "pending_approval"],
  [ProtoSignalStatus.APPROVED, "approved"],
  [ProtoSignalStatus.REJECTED, "rejected"],
  [ProtoSignalStatus.EXPIRED, "expired"],
]);

function instantOf({ seconds, nanos }: Timestamp): Instant {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

function dateOf(instant: Instant): Date {
  return new Date(Number(instant / 1_000_000n));
}

function invalidResponse(fault: string): SignalError {
  return new SignalError(
    "INVALID_RESPONSE",
    `The answer ${fault}. The signal may have been stored; send it again under the same idempotency key.`,
  );
}
