/**
 * Between what an author hands over, what lies in the outbox, and what is handed to the
 * client again. Pure.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Instant,
  instantToProto,
  signalFromProto,
} from "../../signal/index.ts";
import type { SignalInput } from "../input.ts";
import { ingestRequest, type KeyedItem } from "../request.ts";
import { serialize } from "../serialize.ts";
import { SignalError } from "../signalError.ts";
import type { Entry } from "./record.ts";

/** An entry together with the signal in it. */
export interface OutboxItem {
  readonly entry: Entry;
  readonly signal: SignalInput;
  readonly expireTime: Instant | undefined;
}

/** A signal that holds every rule, with its key and its time fixed, as it will be sent. */
export interface FixedRequest {
  readonly idempotencyKey: string;
  readonly expireTime: Instant | undefined;
  readonly bytes: Uint8Array;
}

/**
 * Fixes the time of a signal, and judges it as a call of the client does.
 *
 * @throws SignalError `INVALID_SIGNAL` or `PAYLOAD_TOO_LARGE`, naming every wrong field, or
 *   `BODY_TOO_LARGE`.
 */
export function fixRequest(
  item: KeyedItem,
  now: Instant,
  maxBodyBytes: number,
  payloadMaxBytes = DEFAULT_PAYLOAD_MAX_BYTES,
): FixedRequest {
  const request = ingestRequest(item, { now, payloadMaxBytes });
  const bytes = serialize(IngestRequestSchema, request, "binary");
  if (bytes.byteLength > maxBodyBytes) {
    throw new SignalError(
      "BODY_TOO_LARGE",
      `Nothing was stored, because the request has ${bytes.byteLength} bytes and may have at most ${maxBodyBytes}.`,
    );
  }
  const { idempotencyKey, signal } = request;
  const expireTime = signal && (signalFromProto(signal).expireTime as Instant | undefined);
  return { idempotencyKey, expireTime, bytes };
}

/**
 * The same request as if it had the time of another one: for a signal whose author gave no
 * time, the time of the first call under its key stays.
 */
export function withTimeOf(bytes: Uint8Array, other: Uint8Array): Uint8Array {
  return withTime(bytes, fromBinary(IngestRequestSchema, other).signal?.signalTime);
}

/** The item with another time, which stays from now on. */
export function retimed({ entry }: OutboxItem, time: Instant): OutboxItem {
  const request = withTime(entry.request, instantToProto(time));
  const taken = entry.taken && { ...entry.taken, isTimed: false };
  return itemOf({ ...entry, request, taken });
}

function withTime(bytes: Uint8Array, signalTime: Timestamp | undefined): Uint8Array {
  const request = fromBinary(IngestRequestSchema, bytes);
  if (request.signal === undefined || signalTime === undefined) return bytes;
  const signal = { ...request.signal, signalTime };
  return toBinary(IngestRequestSchema, create(IngestRequestSchema, { ...request, signal }));
}

/** Takes the signal out of an entry. */
export function itemOf(entry: Entry): OutboxItem {
  const { signal } = fromBinary(IngestRequestSchema, entry.request);
  // It was judged when it was taken, and its record proves that it is unchanged.
  const input = (signal === undefined ? {} : signalFromProto(signal)) as SignalInput;
  return { entry, signal: input, expireTime: input.expireTime as Instant | undefined };
}
