/**
 * From the bytes of a request to what the domain is given: one signal, or those of a batch
 * one after the other.
 */
import {
  type IngestRequest,
  IngestRequestSchema,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import type { Submission, Submitted } from "../../ingest/index.ts";
import {
  NOT_STORED,
  ok,
  refuse,
  refused,
  SIGNAL_REQUEST_MAX_BYTES,
  signalFromProto,
  type WithoutOtherFields,
} from "../../signal/index.ts";
import { type Codec, decodeMessage } from "../rpc/decode.ts";
import type { SignalOverrides } from "../rpc/unclearFields.ts";
import type { Turns } from "./turns.ts";

/** Reads the signal in the bytes of an IngestRequest. */
export function readSubmission(codec: Codec, bytes: Uint8Array): Submitted {
  const decoding = decodeMessage(IngestRequestSchema, codec, bytes);
  if (!decoding.ok) return decoding;
  return ok(submissionOf(decoding.value.message, decoding.value.overrides));
}

/** What {@link readItems} is told. */
export interface ReadItemsOptions {
  readonly codec: Codec;
  readonly turns: Turns;
  readonly monotonicMs: () => number;
  /** By the monotonic clock, when the caller stops waiting. The rest is then not read. */
  readonly deadlineMs: number;
}

/** Reads the items of a batch, and lets other requests be served between them. */
export async function* readItems(
  items: readonly Uint8Array[],
  { codec, turns, monotonicMs, deadlineMs }: ReadItemsOptions,
): AsyncGenerator<Submitted> {
  for (const bytes of items) {
    const turn = turns.next();
    if (turn !== undefined) await turn;
    if (monotonicMs() >= deadlineMs) return yield refused(notReadInTime());
    yield bytes.length > SIGNAL_REQUEST_MAX_BYTES
      ? refused(tooLarge())
      : readSubmission(codec, bytes);
  }
}

/**
 * The submission that is in a message.
 *
 * @param overrides fields of its signal that replace those of the message.
 */
export function submissionOf(
  request: WithoutOtherFields<IngestRequest, "signal" | "idempotencyKey" | "validateOnly">,
  overrides: SignalOverrides,
): Submission {
  const { signal, idempotencyKey, validateOnly } = request;
  return {
    signal: signal && Object.assign(signalFromProto(signal), overrides),
    // In proto3 an absent string and an empty one are the same.
    idempotencyKey: idempotencyKey === "" ? undefined : idempotencyKey,
    isKeySigned: idempotencyKey !== "",
    validateOnly,
  };
}

function tooLarge() {
  const message = `A signal of a batch may have at most ${SIGNAL_REQUEST_MAX_BYTES} bytes, as a single one.`;
  return refuse("BODY_TOO_LARGE", message);
}

function notReadInTime() {
  const why =
    "The request's deadline passed before its signals were read. Send them again under the same idempotency keys.";
  return refuse("DEADLINE_EXCEEDED", `${why} ${NOT_STORED}`);
}
