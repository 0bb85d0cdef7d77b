/**
 * The body of an IngestBatchRequest as the bytes of its items, so that they can be decoded
 * one by one: as a whole, a body of 4 MiB can be a million objects.
 */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { IngestBatchRequestSchema } from "../../../gen/signals/v1/ingest_service_pb.ts";
import { ok, type Refusal, type Result, refuse, refused } from "../../signal/index.ts";
import { type Codec, decodeMessage } from "../rpc/decode.ts";

/** The items of a batch. */
export interface BatchParts {
  /** How many there are. */
  readonly count: number;
  /** The bytes of the first ones, each an IngestRequest. They were not looked into. */
  readonly items: readonly Uint8Array[];
}

const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const BLANKS: ReadonlySet<number | undefined> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** What is around the items of a batch has no reason to be longer. */
const FRAME_MAX_BYTES = 1024;

/**
 * Takes a batch apart. What it refuses is no batch, whatever its items are.
 *
 * @param maxItems no more items are given.
 */
export function batchParts(codec: Codec, body: Uint8Array, maxItems: number): Result<BatchParts> {
  const parts = new Parts(body, maxItems);
  const refusal = codec === "json" ? splitJson(body, parts) : splitBinary(body, parts);
  return refusal === undefined ? ok(parts) : refused(refusal);
}

class Parts implements BatchParts {
  readonly #body: Uint8Array;
  readonly #maxItems: number;
  readonly items: Uint8Array[] = [];
  count = 0;

  constructor(body: Uint8Array, maxItems: number) {
    this.#body = body;
    this.#maxItems = maxItems;
  }

  add(start: number, end: number): void {
    this.count += 1;
    if (this.items.length < this.#maxItems) this.items.push(this.#body.subarray(start, end));
  }
}

function splitBinary(body: Uint8Array, parts: Parts): Refusal | undefined {
  const { number } = IngestBatchRequestSchema.field.requests;
  const reader = new BinaryReader(body);
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== number || wireType !== WireType.LengthDelimited) {
        return malformed("The message has a field that is not defined, or not of its type.");
      }
      const length = reader.uint32();
      const start = reader.pos;
      if (start + length > reader.len) return malformed("The message is cut off.");
      reader.pos = start + length;
      parts.add(start, reader.pos);
    }
    return undefined;
  } catch {
    return malformed("The body is not a valid protobuf message of this type.");
  }
}

/**
 * The body is cut at the brackets of its list and at the commas in it. If the body without
 * what is in the list is valid, and so is each item, then so was the whole.
 */
function splitJson(body: Uint8Array, parts: Parts): Refusal | undefined {
  const list = findList(body, parts);
  const frame =
    list === undefined
      ? body
      : Buffer.concat([body.subarray(0, list.start + 1), body.subarray(list.end)]);
  if (frame.length > FRAME_MAX_BYTES) {
    return malformed("The body is not valid JSON of this message: it has more than its requests.");
  }
  const decoding = decodeMessage(IngestBatchRequestSchema, "json", frame);
  return decoding.ok ? undefined : decoding.refusal;
}

/**
 * Finds the first list that is a member of the body, and cuts it at its commas. What is not
 * JSON gives cuts that are not.
 *
 * @returns the places of its brackets, `undefined` if there is none that is closed.
 */
function findList(
  body: Uint8Array,
  parts: Parts,
): { readonly start: number; readonly end: number } | undefined {
  let depth = 0;
  let start = -1;
  let itemStart = -1;
  for (let at = 0; at < body.length; at++) {
    const isInList = start >= 0 && depth === 2;
    switch (body[at]) {
      case QUOTE:
        at = endOfString(body, at);
        break;
      case OPEN_OBJECT:
        depth += 1;
        break;
      case OPEN_ARRAY:
        depth += 1;
        if (start >= 0 || depth !== 2) break;
        start = at;
        itemStart = at + 1;
        break;
      case COMMA:
        if (!isInList) break;
        parts.add(skipBlanks(body, itemStart), at);
        itemStart = at + 1;
        break;
      case CLOSE_OBJECT:
        if (isInList) return undefined;
        depth -= 1;
        break;
      case CLOSE_ARRAY: {
        depth -= 1;
        if (!isInList) break;
        const last = skipBlanks(body, itemStart);
        // A list of nothing has no item. Behind a comma there must be one.
        if (parts.count > 0 || last < at) parts.add(last, at);
        return { start, end: at };
      }
    }
  }
  return undefined;
}

function skipBlanks(body: Uint8Array, start: number): number {
  let at = start;
  while (BLANKS.has(body[at])) at++;
  return at;
}

/** Where the string that begins at `start` has its closing quote; the end if it has none. */
function endOfString(body: Uint8Array, start: number): number {
  let end = body.indexOf(QUOTE, start + 1);
  while (end >= 0 && isEscaped(body, end)) end = body.indexOf(QUOTE, end + 1);
  return end < 0 ? body.length : end;
}

function isEscaped(body: Uint8Array, at: number): boolean {
  let before = at - 1;
  while (body[before] === BACKSLASH) before -= 1;
  return (at - before) % 2 === 0;
}

function malformed(message: string): Refusal {
  return refuse("MALFORMED_BODY", message);
}
