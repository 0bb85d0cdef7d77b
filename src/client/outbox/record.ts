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
import type { Entry, Progress } from "./entry.ts";

/** Begins every record: bytes that no text and hardly any protobuf message holds. */
export const RECORD_MARK = Buffer.from("93c50bc31a0d0afe", "hex");
const LENGTH_BYTES = 4;
const DIGEST_BYTES = 32;
const BODY_AT = RECORD_MARK.length + LENGTH_BYTES + DIGEST_BYTES;
/** What precedes a body, in bytes. */
export const RECORD_HEAD_BYTES = BODY_AT;
/** A length beyond it was not written by an outbox. */
const BODY_BYTES_MAX = 16 * 1_048_576;

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
