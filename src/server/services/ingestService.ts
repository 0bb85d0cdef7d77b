/**
 * IngestService: between its messages and the domain.
 */
import { create } from "@bufbuild/protobuf";
import {
  type IngestBatchResponse,
  IngestBatchResponseSchema,
  type IngestResponse,
  IngestResponseSchema,
  type IngestService,
  type SignalError,
  SignalErrorSchema,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus as ProtoSignalStatus } from "../../../gen/signals/v1/signal_pb.ts";
import {
  type Ingest,
  type IngestResult,
  resultMessage,
  type Submitted,
} from "../../ingest/index.ts";
import {
  BATCH_MAX_SIGNALS,
  BATCH_REQUEST_MAX_BYTES,
  instantToProto,
  type MessageFields,
  ok,
  type Reason,
  type Refusal,
  type Result,
  refuse,
  refused,
  SIGNAL_REQUEST_MAX_BYTES,
  statusToProto,
} from "../../signal/index.ts";
import { outOfMemory, type RequestMemory, SIGNAL_BYTES } from "../http/pendingMemory.ts";
import { recordResults } from "../http/requestRecord.ts";
import type { SignedCall, SignedMethods } from "../rpc/signedRpc.ts";
import { batchParts } from "./batchParts.ts";
import { readItems, readSubmission } from "./readSubmissions.ts";
import type { Turns } from "./turns.ts";

type Methods = SignedMethods<typeof IngestService>;

/** What {@link ingestMethods} is made of. */
export interface IngestMethodsDependencies {
  readonly ingest: Ingest;
  readonly monotonicMs: () => number;
  readonly turns: Turns;
  readonly singles: RequestMemory;
  readonly batches: RequestMemory;
}

/** All methods of the service. */
export function ingestMethods(dependencies: IngestMethodsDependencies): Methods {
  return { ingest: ingestMethod(dependencies), ingestBatch: ingestBatchMethod(dependencies) };
}

/** `Ingest`: one signal, answered or refused as a whole. */
function ingestMethod({ ingest, singles }: IngestMethodsDependencies): Methods["ingest"] {
  return {
    maxMessageBytes: SIGNAL_REQUEST_MAX_BYTES,
    isBatch: false,
    budget: singles.budget,
    async handle({ codec, bytes }, call) {
      using memory = singles.pending.take(bytes.length + SIGNAL_BYTES);
      if (memory === undefined) return refused(outOfMemory());
      // Awaited, since the memory is given back on the way out.
      return await answerSignal(ingest, readSubmission(codec, bytes), call);
    },
  };
}

/** `IngestBatch`: each signal answered by itself, refused ones too. */
function ingestBatchMethod({
  ingest,
  batches,
  turns,
  monotonicMs,
}: IngestMethodsDependencies): Methods["ingestBatch"] {
  return {
    maxMessageBytes: BATCH_REQUEST_MAX_BYTES,
    isBatch: true,
    budget: batches.budget,
    async handle({ codec, bytes }, call) {
      const parts = batchParts(codec, bytes, BATCH_MAX_SIGNALS);
      if (!parts.ok) return parts;
      const { count, items } = parts.value;
      if (count < 1 || count > BATCH_MAX_SIGNALS) return refused(wrongCount(count));
      using memory = batches.pending.take(bytes.length + count * SIGNAL_BYTES);
      if (memory === undefined) return refused(outOfMemory());
      const { deadlineMs, admitBatch } = call;
      const refusal = await admitBatch(count);
      if (refusal !== undefined) return refused(refusal);
      const submissions = readItems(items, { codec, turns, monotonicMs, deadlineMs });
      return await answerBatch(ingest, submissions, call);
    },
  };
}

/** Has one signal stored, and tells what became of it. */
export async function answerSignal(
  ingest: Ingest,
  submission: Submitted,
  { origin, deadlineMs, record }: SignedCall,
): Promise<Result<IngestResponse>> {
  const results = await ingest([submission], origin, deadlineMs);
  recordResults(record, results);
  const result = results[0] as IngestResult;
  return result.kind === "refused" ? refused(result.refusal) : ok(responseOf(result));
}

/** Has the signals of a batch stored, and tells what became of each. */
export async function answerBatch(
  ingest: Ingest,
  submissions: Parameters<Ingest>[0],
  { origin, deadlineMs, record }: SignedCall,
): Promise<Result<IngestBatchResponse>> {
  const results = await ingest(submissions, origin, deadlineMs);
  recordResults(record, results);
  return wholeBatchRefusal(results) ?? ok(batchResponse(results.map(itemResponseOf)));
}

function batchResponse(responses: IngestResponse[]): IngestBatchResponse {
  return create(IngestBatchResponseSchema, { responses });
}

function responseOf(result: Exclude<IngestResult, { kind: "refused" }>): IngestResponse {
  return response({
    signalId: result.kind === "stored" ? result.signalId : "",
    status: statusToProto(result.status),
    serverTimestamp: instantToProto(result.receiveTime),
    message: resultMessage(result),
    errors: [],
    duplicate: result.kind === "stored" && result.duplicate,
  });
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
 * A batch that was not understood, or did not reach the store, fails as a whole. In the
 * second case nothing is wrong with its items, so they must be retried, not given up as
 * rejected.
 */
function wholeBatchRefusal(results: readonly IngestResult[]): Result<never> | undefined {
  for (const result of results) {
    if (result.kind === "refused" && isOfBatch(result.refusal)) return refused(result.refusal);
  }
  return undefined;
}

const REASONS_OF_BATCH: ReadonlySet<Reason> = new Set([
  "MALFORMED_BODY",
  "STORE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "OVERLOADED",
]);

function isOfBatch({ reason }: Refusal): boolean {
  return REASONS_OF_BATCH.has(reason);
}

/** Why a batch of so many signals is refused. */
export function wrongCount(count: number): Refusal {
  const description = `must hold 1 to ${BATCH_MAX_SIGNALS} requests`;
  return refuse("INVALID_SIGNAL", `A batch ${description}, not ${count}.`, {
    violations: [{ field: "requests", description }],
  });
}
