/**
 * The form in which an entry lies in the file: a record that says by itself where it begins,
 * how long it is and whether it is unchanged. So no changed signal is ever sent, and each
 * record can be found and trusted even if all around it is damaged. Pure.
 *
 * A record is a mark of 8 bytes, the length of its body in 4 (big-endian), the SHA-256 of the
 * body, and the body: the length of a JSON text in 4 bytes, that text, and the bytes of the
 * `IngestRequest` that every attempt sends.
 */
import { hash } from "node:crypto";
import type { Violation } from "../../signal/index.ts";
import type { SignalErrorReason } from "../errorReason.ts";
import type { Owner } from "./owner.ts";

/** Begins every record: bytes that no text and hardly any protobuf message holds. */
export const RECORD_MARK = Buffer.from("93c50bc31a0d0afe", "hex");
const LENGTH_BYTES = 4;
const DIGEST_BYTES = 32;
const BODY_AT = RECORD_MARK.length + LENGTH_BYTES + DIGEST_BYTES;
/** What precedes a body, in bytes. */
export const RECORD_HEAD_BYTES = BODY_AT;
/** A length beyond it was not written by an outbox. */
const BODY_BYTES_MAX = 16 * 1_048_576;

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

/** How far delivery has come. It tells records of delivered signals from those to deliver. */
export interface Progress {
  /** Greater than every sequence used so far. */
  readonly nextSequence: number;
  /** Of no entry still to be delivered is the sequence lower. */
  readonly pendingFrom: number;
  /** Who delivers; not given if nobody does, or if the system does not tell processes apart. */
  readonly owner?: Owner | undefined;
}

/** What a record says. */
export type RecordContent =
  | { readonly kind: "entry"; readonly entry: Entry }
  | { readonly kind: "progress"; readonly progress: Progress };

/** The record of an entry. */
export function encodeEntry({ request, ...facts }: Entry): Buffer {
  return encode(JSON.stringify(facts), request);
}

/** The record of the progress. */
export function encodeProgress(progress: Progress): Buffer {
  return encode(JSON.stringify(progress), new Uint8Array());
}

function encode(json: string, request: Uint8Array): Buffer {
  const jsonLength = Buffer.byteLength(json);
  const record = Buffer.alloc(BODY_AT + LENGTH_BYTES + jsonLength + request.length);
  record.set(RECORD_MARK);
  record.writeUInt32BE(record.length - BODY_AT, RECORD_MARK.length);
  record.writeUInt32BE(jsonLength, BODY_AT);
  record.write(json, BODY_AT + LENGTH_BYTES);
  record.set(request, BODY_AT + LENGTH_BYTES + jsonLength);
  record.set(digestOf(record), RECORD_MARK.length + LENGTH_BYTES);
  return record;
}

/** How long a record is by its own head; `undefined` if this is not the head of one. */
export function recordLength(head: Uint8Array): number | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < BODY_AT || !bytes.subarray(0, RECORD_MARK.length).equals(RECORD_MARK)) {
    return undefined;
  }
  const bodyLength = bytes.readUInt32BE(RECORD_MARK.length);
  const isPossible = bodyLength > LENGTH_BYTES && bodyLength <= BODY_BYTES_MAX;
  return isPossible ? BODY_AT + bodyLength : undefined;
}

/** Reads a record; `undefined` if any bit of it is not as it was written. */
export function decodeRecord(bytes: Uint8Array): RecordContent | undefined {
  const record = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (recordLength(record) !== record.length) return undefined;
  const digest = record.subarray(RECORD_MARK.length + LENGTH_BYTES, BODY_AT);
  if (!digestOf(record).equals(digest)) return undefined;
  // The digest proves that an outbox wrote the rest, so it is what it should be.
  const requestAt = BODY_AT + LENGTH_BYTES + record.readUInt32BE(BODY_AT);
  const facts = JSON.parse(record.toString("utf8", BODY_AT + LENGTH_BYTES, requestAt));
  if ("pendingFrom" in facts) return { kind: "progress", progress: facts };
  return { kind: "entry", entry: { ...facts, request: Buffer.from(record.subarray(requestAt)) } };
}

function digestOf(record: Buffer): Buffer {
  return hash("sha256", record.subarray(BODY_AT), "buffer");
}
