/**
 * JSON as the protobuf bytes that `buf curl` sends for it.
 *
 * buf curl reads JSON and sends protobuf by each of its protocols. It serialises with
 * Go's deterministic mode: fields by their number, and the entries of a map by the bytes
 * of their keys. Only the second needs care here, since a JavaScript object moves keys
 * that look like integers to the front.
 */
import {
  create,
  type DescMessage,
  fromBinary,
  fromJson,
  fromJsonString,
  type MessageShape,
  toBinary,
  type UnknownField,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EmptySchema, type Struct, StructSchema, type Value } from "@bufbuild/protobuf/wkt";
import {
  IngestBatchRequestSchema,
  type IngestRequest,
  IngestRequestSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { type Signal, SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import { usageError } from "./cliError.ts";

/** A message of the signed RPCs. */
export type MessageName = "IngestRequest" | "IngestBatchRequest";

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
 * The request with its payload, the one field with maps, already serialised. It stands as an
 * unknown field, which protobuf-es writes as it is behind all others; so do the fields of
 * higher numbers, which belong behind it.
 */
function withSortedPayload(request: IngestRequest): IngestRequest {
  const { signal } = request;
  if (signal?.payload === undefined) return request;
  const struct = sortedStruct(fromJson(StructSchema, signal.payload));
  const { number: no } = SignalSchema.field.payload;
  const payload: UnknownField = {
    no,
    wireType: WireType.LengthDelimited,
    data: new BinaryWriter().bytes(toBinary(StructSchema, struct)).finish(),
  };
  const behind = toBinary(
    SignalSchema,
    partOf(signal, (number) => number > no),
  );
  const others = fromBinary(EmptySchema, behind).$unknown ?? [];
  const before = partOf(signal, (number) => number < no);
  return { ...request, signal: { ...before, $unknown: [payload, ...others] } };
}

function partOf(signal: Signal, isPart: (number: number) => boolean): Signal {
  const fields = SignalSchema.fields.filter(({ number }) => isPart(number));
  const values = fields.map(({ localName }) => [localName, signal[localName as keyof Signal]]);
  return Object.assign(create(SignalSchema), Object.fromEntries(values));
}

/** The same struct, whose keys the serialiser is given in the order of their bytes. */
function sortedStruct(struct: Struct): Struct {
  const fields = Object.fromEntries(
    Object.entries(struct.fields).map(([key, value]) => [key, sortedValue(value)]),
  );
  const keys = Object.keys(fields).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return { ...struct, fields: new Proxy(fields, { ownKeys: () => keys }) };
}

function sortedValue(value: Value): Value {
  const { kind } = value;
  switch (kind.case) {
    case "structValue":
      return { ...value, kind: { ...kind, value: sortedStruct(kind.value) } };
    case "listValue": {
      const values = kind.value.values.map(sortedValue);
      return { ...value, kind: { ...kind, value: { ...kind.value, values } } };
    }
    default:
      return value;
  }
}
