/**
 * JSON as the protobuf bytes that `buf curl` sends for it.
 *
 * buf curl reads JSON and sends protobuf by each of its protocols. It serialises with
 * Go's deterministic mode: fields by their number, and the entries of a map by the bytes
 * of their keys. Only the second needs care here, since a JavaScript object moves keys
 * that look like integers to the front. So the payload, the one field with maps, is
 * written by hand.
 */
import {
  create,
  type DescMessage,
  fromJsonString,
  type MessageShape,
  toBinary,
  type UnknownField,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  IngestBatchRequestSchema,
  type IngestRequest,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import type { JsonObject, JsonValue } from "../signal/index.ts";
import { usageError } from "./cliError.ts";
import type { MessageName } from "./messageNames.ts";

/**
 * The bytes that `buf curl` sends for this JSON.
 *
 * @throws CliError if it is not the JSON of that message.
 */
export function bufMessage(name: MessageName, json: string): Uint8Array {
  if (name === "IngestRequest") {
    const request = parse(IngestRequestSchema, name, json);
    return toBinary(IngestRequestSchema, withSortedPayload(request));
  }
  const batch = parse(IngestBatchRequestSchema, name, json);
  const requests = batch.requests.map(withSortedPayload);
  return toBinary(IngestBatchRequestSchema, create(IngestBatchRequestSchema, { requests }));
}

function parse<Desc extends DescMessage>(
  schema: Desc,
  name: MessageName,
  json: string,
): MessageShape<Desc> {
  try {
    return fromJsonString(schema, json);
  } catch (error) {
    throw usageError(`The body is not the JSON of an ${name}: ${(error as Error).message}`);
  }
}

/**
 * The request with its payload already serialised. It stands as an unknown field, which
 * protobuf-es writes as it is behind all others: there the payload belongs, since no field
 * of a signal has a higher number.
 */
function withSortedPayload(request: IngestRequest): IngestRequest {
  const { signal } = request;
  if (signal?.payload === undefined) return request;
  const payload: UnknownField = {
    no: SignalSchema.field.payload.number,
    wireType: WireType.LengthDelimited,
    data: new BinaryWriter().bytes(structBytes(signal.payload)).finish(),
  };
  const { payload: _, ...others } = signal;
  return { ...request, signal: { ...others, $unknown: [payload] } };
}

// The field numbers of google/protobuf/struct.proto.
const STRUCT_FIELDS = 1;
const ENTRY_KEY = 1;
const ENTRY_VALUE = 2;
const VALUE_NULL = 1;
const VALUE_NUMBER = 2;
const VALUE_STRING = 3;
const VALUE_BOOL = 4;
const VALUE_STRUCT = 5;
const VALUE_LIST = 6;
const LIST_VALUES = 1;

function structBytes(object: JsonObject): Uint8Array {
  const writer = new BinaryWriter();
  const entries = Object.entries(object).map(([key, value]) => ({ key: Buffer.from(key), value }));
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  for (const { key, value } of entries) {
    writer.tag(STRUCT_FIELDS, WireType.LengthDelimited).fork();
    writer.tag(ENTRY_KEY, WireType.LengthDelimited).bytes(key);
    writer.tag(ENTRY_VALUE, WireType.LengthDelimited).bytes(valueBytes(value));
    writer.join();
  }
  return writer.finish();
}

function valueBytes(value: JsonValue): Uint8Array {
  const writer = new BinaryWriter();
  if (value === null) return writer.tag(VALUE_NULL, WireType.Varint).int32(0).finish();
  switch (typeof value) {
    case "number":
      return writer.tag(VALUE_NUMBER, WireType.Bit64).double(value).finish();
    case "string":
      return writer.tag(VALUE_STRING, WireType.LengthDelimited).string(value).finish();
    case "boolean":
      return writer.tag(VALUE_BOOL, WireType.Varint).bool(value).finish();
    default:
      return Array.isArray(value)
        ? writer.tag(VALUE_LIST, WireType.LengthDelimited).bytes(listBytes(value)).finish()
        : writer.tag(VALUE_STRUCT, WireType.LengthDelimited).bytes(structBytes(value)).finish();
  }
}

function listBytes(values: readonly JsonValue[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const value of values) {
    writer.tag(LIST_VALUES, WireType.LengthDelimited).bytes(valueBytes(value));
  }
  return writer.finish();
}
