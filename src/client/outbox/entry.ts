/**
 * A signal in the outbox: what is known of it, and the request in it that every attempt sends.
 * Pure.
 */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { IngestRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { counted } from "../../alerts/index.ts";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Instant,
  instantToProto,
  signalFromProto,
  type Violation,
} from "../../signal/index.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalInput } from "../input.ts";
import { ingestRequest, type KeyedItem } from "../request.ts";
import { serialize } from "../serialize.ts";
import { SignalError } from "../signalError.ts";

/** Why a signal is a dead letter: the refusal's reason, or that it became too old. */
export type DeathReason = SignalErrorReason | "GIVEN_UP";

/** How a signal became a dead letter. */
export interface Death {
  readonly reason: DeathReason;
  readonly message: string;
  readonly violations: readonly Violation[];
  /** When, in milliseconds since 1970. */
  readonly diedMs: number;
}

/** How the clock stood when a signal was taken. */
export interface Taken {
  /** Names the run of the outbox that took it, among all runs. */
  readonly run: string;
  /** How long the machine had been up, in milliseconds: the beginning of its age in that run. */
  readonly uptimeMs: number;
  /** How far the machine's clock was known to be behind, in milliseconds; 0 if nothing was known. */
  readonly correctionMs: number;
  /** Whether the server had confirmed the clock. Not given by an earlier version. */
  readonly isConfirmed?: boolean | undefined;
  /** Whether the signal's time is the outbox's own and may still be set right. */
  readonly isTimed: boolean;
}

/** One signal in the outbox: still to be delivered, or a dead letter. */
export interface Entry {
  /** The number of the change that made it; it grows over all entries and is never used again. */
  readonly sequence: number;
  readonly idempotencyKey: string;
  /**
   * When it was taken, or was last given back by a person, in milliseconds since 1970 by the
   * machine's own clock.
   */
  readonly enqueuedMs: number;
  /** Not given if a person gave it back, or if an earlier version took it. */
  readonly taken?: Taken | undefined;
  /** `undefined` while it is still to be delivered. */
  readonly death: Death | undefined;
  /** The `IngestRequest` that every attempt sends, in binary. */
  readonly request: Uint8Array;
}

/** The process that has a file. Its number may be given to a later process. */
export interface LockOwner {
  readonly pid: number;
  /** When it started, in ticks since the machine did. */
  readonly startedTicks: string;
}

/** How far delivery has come. It tells records of delivered signals from those to deliver. */
export interface Progress {
  /** Greater than every sequence used so far. */
  readonly nextSequence: number;
  /** Of no entry still to be delivered is the sequence lower. */
  readonly pendingFrom: number;
  /** Who delivers; not given if nobody does, or if the system does not tell processes apart. */
  readonly owner?: LockOwner | undefined;
}

/** The most that a file may hold, dead letters included. */
export interface OutboxBounds {
  readonly maxSignals: number;
  readonly maxBytes: number;
}

/** How much a file holds. */
export class Totals {
  pendingCount = 0;
  /** Of the records, dead letters included. */
  bytes = 0;
  /** Greater than every sequence used so far. */
  nextSequence = 1;
  readonly deadByReason = new Map<DeathReason, number>();

  /** How many dead letters there are. */
  get deadCount(): number {
    return [...this.deadByReason.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Counts an entry in, or out with -1. */
  count({ death }: Pick<Entry, "death">, recordBytes: number, by: 1 | -1 = 1): void {
    this.bytes += by * recordBytes;
    if (death === undefined) {
      this.pendingCount += by;
      return;
    }
    const count = (this.deadByReason.get(death.reason) ?? 0) + by;
    if (count === 0) this.deadByReason.delete(death.reason);
    else this.deadByReason.set(death.reason, count);
  }

  copy(): Totals {
    return Object.assign(new Totals(), this, { deadByReason: new Map(this.deadByReason) });
  }

  /** The bound that one more record would exceed, as a phrase. */
  exceeded(recordBytes: number, { maxSignals, maxBytes }: OutboxBounds): string | undefined {
    const signals = this.pendingCount + this.deadCount;
    if (signals + 1 > maxSignals) return counted(maxSignals, "signal");
    return this.bytes + recordBytes > maxBytes ? `${maxBytes} bytes` : undefined;
  }
}

/** An entry together with the signal in it. */
export interface OutboxItem {
  readonly entry: Entry;
  readonly signal: SignalInput;
  readonly expireTime: Instant | undefined;
}

/** Takes the signal out of an entry. */
export function itemOf(entry: Entry): OutboxItem {
  const { signal } = fromBinary(IngestRequestSchema, entry.request);
  // It was judged when it was taken, and its record proves that it is unchanged.
  const input = (signal === undefined ? {} : signalFromProto(signal)) as SignalInput;
  return { entry, signal: input, expireTime: input.expireTime as Instant | undefined };
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
