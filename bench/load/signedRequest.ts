/** The request that carries signals, signed; and what its answer says of them. */
import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import {
  IngestBatchRequestSchema,
  IngestBatchResponseSchema,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import { signalToProto } from "../../src/signal/index.ts";
import {
  formatTimestamp,
  type Secret,
  type SignatureHeaders,
  signatureHeaders,
} from "../../src/signing/index.ts";
import { type KeyedSignal, now } from "./signals.ts";

/** Who signs. */
export interface Credentials {
  readonly producerId: string;
  readonly secret: Secret;
}

/** A request that is ready to be framed. */
export interface SignedRequest {
  readonly endpoint: string;
  readonly body: Buffer;
  readonly headers: SignatureHeaders;
}

/** A call of `Ingest` with one signal as JSON. */
export function signedJson(keyed: KeyedSignal, credentials: Credentials): SignedRequest {
  const text = toJsonString(IngestRequestSchema, ingestRequestOf(keyed));
  return signed("Ingest", Buffer.from(text), credentials);
}

/** A call of `Ingest` with one signal, or of `IngestBatch` with several, in binary. */
export function signedBinary(
  signals: readonly KeyedSignal[],
  credentials: Credentials,
): SignedRequest {
  const requests = signals.map(ingestRequestOf);
  const [only] = requests;
  if (only !== undefined && requests.length === 1) {
    return signed("Ingest", Buffer.from(toBinary(IngestRequestSchema, only)), credentials);
  }
  const batch = create(IngestBatchRequestSchema, { requests });
  return signed("IngestBatch", Buffer.from(toBinary(IngestBatchRequestSchema, batch)), credentials);
}

/** How many items of a batch its answer says are stored, and stored for the first time. */
export function acknowledgedInBatch(message: Uint8Array): number {
  const { responses } = fromBinary(IngestBatchResponseSchema, message);
  return responses.filter(({ status, duplicate }) => status === SignalStatus.RECEIVED && !duplicate)
    .length;
}

function ingestRequestOf({ idempotencyKey, signal }: KeyedSignal) {
  return create(IngestRequestSchema, { idempotencyKey, signal: signalToProto(signal) });
}

function signed(
  method: "Ingest" | "IngestBatch",
  body: Buffer,
  credentials: Credentials,
): SignedRequest {
  const endpoint = `/signals.v1.IngestService/${method}`;
  const timestamp = formatTimestamp(now());
  return {
    endpoint,
    body,
    headers: signatureHeaders({ ...credentials, endpoint, body, timestamp }),
  };
}
