/**
 * IngestService: between its messages and the domain.
 */
import { create, type MessageShape } from "@bufbuild/protobuf";
import {
  type IngestBatchRequest,
  IngestBatchResponseSchema,
  type IngestRequest,
  type IngestResponse,
  IngestResponseSchema,
  type IngestService,
  type SignalError,
  SignalErrorSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus as ProtoSignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import {
  type Ingest,
  type IngestResult,
  type Refusal,
  refuse,
  type Submission,
} from "../ingest/index.ts";
import {
  instantToProto,
  type MessageFields,
  signalFromProto,
  statusToProto,
  type WithoutOtherFields,
} from "../signal/index.ts";
import type { BodyBudget } from "./bodyBudget.ts";
import { recordResults } from "./requestRecord.ts";
import type { Answer, SignedMethods } from "./signedRpc.ts";
import type { SignalOverrides } from "./unclearFields.ts";

/** The greatest request to Ingest, in bytes. */
export const INGEST_MAX_BYTES = 64 * 1024;
/** The greatest request to IngestBatch, in bytes. */
const INGEST_BATCH_MAX_BYTES = 4 * 1024 * 1024;
/** The most signals in one batch. */
const INGEST_BATCH_MAX_REQUESTS = 1_000;

type Methods = SignedMethods<typeof IngestService>;

/**
 * All methods of the service.
 *
 * @param budget the memory for the bodies of single signals.
 * @param batchBudget the memory for the bodies of batches.
 */
export function ingestMethods(
  ingest: Ingest,
  budget: BodyBudget,
  batchBudget: BodyBudget,
): Methods {
  return {
    ingest: ingestMethod(ingest, budget),
    ingestBatch: ingestBatchMethod(ingest, batchBudget),
  };
}

/** `Ingest`: one signal, answered or refused as a whole. */
function ingestMethod(ingest: Ingest, budget: BodyBudget): Methods["ingest"] {
  return {
    maxMessageBytes: INGEST_MAX_BYTES,
    budget,
    async handle(request, { origin, deadlineMs, overrides, record }) {
      const submission = submissionOf(request, overrides[0]);
      const results = await ingest([submission], origin, deadlineMs);
      recordResults(record, results);
      const result = results[0] as IngestResult;
      return result.kind === "refused" ? refused(result.refusal) : answered(responseOf(result));
    },
  };
}

/** `IngestBatch`: each signal answered by itself, refused ones too. */
function ingestBatchMethod(ingest: Ingest, budget: BodyBudget): Methods["ingestBatch"] {
  return {
    maxMessageBytes: INGEST_BATCH_MAX_BYTES,
    budget,
    async handle(batch, { origin, deadlineMs, overrides, record }) {
      const requests = requestsOf(batch);
      if (requests.length < 1 || requests.length > INGEST_BATCH_MAX_REQUESTS) {
        return refused(wrongCount(requests.length));
      }
      const submissions = requests.map((request, item) => submissionOf(request, overrides[item]));
      const results = await ingest(submissions, origin, deadlineMs);
      recordResults(record, results);
      return (
        wholeBatchRefusal(results) ??
        answered(create(IngestBatchResponseSchema, { responses: results.map(itemResponseOf) }))
      );
    },
  };
}

function requestsOf({
  requests,
}: WithoutOtherFields<IngestBatchRequest, "requests">): readonly IngestRequest[] {
  return requests;
}

function submissionOf(
  request: WithoutOtherFields<IngestRequest, "signal" | "idempotencyKey" | "validateOnly">,
  overrides: SignalOverrides | undefined,
): Submission {
  const { signal, idempotencyKey, validateOnly } = request;
  return {
    signal: signal && { ...signalFromProto(signal), ...overrides },
    // In proto3 an absent string and an empty one are the same.
    idempotencyKey: idempotencyKey === "" ? undefined : idempotencyKey,
    isKeySigned: idempotencyKey !== "",
    validateOnly,
  };
}

function responseOf(result: Exclude<IngestResult, { kind: "refused" }>): IngestResponse {
  const status = statusToProto(result.status);
  const serverTimestamp = instantToProto(result.receiveTime);
  if (result.kind === "valid") {
    const message = "The signal is valid. Nothing was stored.";
    return response({
      signalId: "",
      status,
      serverTimestamp,
      message,
      errors: [],
      duplicate: false,
    });
  }
  const { signalId, duplicate } = result;
  const message = storedMessage(duplicate);
  return response({ signalId, status, serverTimestamp, message, errors: [], duplicate });
}

/** The sentence for a signal that is on disk. */
export function storedMessage(duplicate: boolean): string {
  return duplicate
    ? "The signal was stored before; this is the first result."
    : "The signal is stored.";
}

function itemResponseOf(result: IngestResult): IngestResponse {
  if (result.kind !== "refused") return responseOf(result);
  const { reason, message, violations } = result.refusal;
  const causes = violations.length > 0 ? violations : [{ field: "", description: message }];
  return response({
    signalId: "",
    status: ProtoSignalStatus.REJECTED,
    serverTimestamp: instantToProto(result.receiveTime),
    message,
    errors: causes.map(({ field, description }) => signalError({ reason, field, description })),
    duplicate: false,
  });
}

function response(fields: MessageFields<IngestResponse>): IngestResponse {
  return create(IngestResponseSchema, fields);
}

function signalError(fields: MessageFields<SignalError>): SignalError {
  return create(SignalErrorSchema, fields);
}

/**
 * A batch that did not reach the store fails as a whole: nothing is wrong with its
 * items, so they must be retried, not given up as rejected.
 */
function wholeBatchRefusal(results: readonly IngestResult[]): Answer<never> | undefined {
  for (const result of results) {
    if (result.kind === "refused" && isServersFault(result.refusal)) return refused(result.refusal);
  }
  return undefined;
}

function isServersFault({ reason }: Refusal): boolean {
  return (
    reason === "STORE_UNAVAILABLE" || reason === "DEADLINE_EXCEEDED" || reason === "OVERLOADED"
  );
}

function wrongCount(count: number): Refusal {
  const description = `must hold 1 to ${INGEST_BATCH_MAX_REQUESTS} requests`;
  return refuse("INVALID_SIGNAL", `A batch ${description}, not ${count}.`, {
    violations: [{ field: "requests", description }],
  });
}

function answered<
  Message extends MessageShape<
    (typeof IngestService.method)[keyof typeof IngestService.method]["output"]
  >,
>(message: Message): Answer<Message> {
  return { answered: true, message };
}

function refused(refusal: Refusal): Answer<never> {
  return { answered: false, refusal };
}
