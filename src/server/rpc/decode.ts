/**
 * From the bytes of an RPC body to its message, strictly: whatever the contract does
 * not define is refused, since a misspelt stop loss must not vanish.
 */
import {
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { NullValue, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  invalidSignal,
  ok,
  PAYLOAD_VALUES_MAX,
  PAYLOAD_VALUES_RULE,
  parseJsonStrictly,
  type Result,
  refuse,
  refused,
} from "../../signal/index.ts";
import { type SignalOverrides, takeUnclearFields, wrongTimeIn } from "./unclearFields.ts";

/** How a message is serialised. */
export type Codec = "binary" | "json";

/** A message that was read. */
export interface Decoded<Desc extends DescMessage> {
  readonly message: MessageShape<Desc>;
  /** Fields of the signal that were read here, not by the library; empty in binary. */
  readonly overrides: SignalOverrides;
}

const BRACE = 0x7b;
const EXPLANATION_MAX_LENGTH = 300;
/** An entry of a map has its key as field 1 and its value as field 2. */
const ENTRY_KEY = 1;
const ENTRY_VALUE = 2;
/** As many levels of messages as the library reads. */
const DEPTH_MAX = 100;
const NULL_VALUE = BigInt(NullValue.NULL_VALUE);

/** Decodes a body. Never throws. */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  codec: Codec,
  body: Uint8Array,
): Result<Decoded<Desc>> {
  // A JSON body begins with "{" and a protobuf body never does, so that no signed body
  // can be replayed as the other codec.
  if ((body[0] === BRACE) !== (codec === "json")) {
    const rule = codec === "json" ? "must begin with {" : "must not begin with {";
    return malformed(`A ${codec} body ${rule}.`);
  }
  return codec === "json" ? decodeJson(schema, body) : decodeBinary(schema, body);
}

function decodeBinary<Desc extends DescMessage>(
  schema: Desc,
  body: Uint8Array,
): Result<Decoded<Desc>> {
  try {
    // First, since it makes no objects.
    const walk: Walk = { reader: new BinaryReader(body), values: 0 };
    if (!isAsDefined(walk, schema, body.length, 0)) {
      return malformed("The message has a field that is not defined, or not of its type.");
    }
    if (walk.values > PAYLOAD_VALUES_MAX) {
      const violation = { field: "signal.payload", description: PAYLOAD_VALUES_RULE };
      return refused(invalidSignal("INVALID_SIGNAL", [violation]));
    }
    return ok({ message: fromBinary(schema, body), overrides: {} });
  } catch {
    return malformed("The body is not a valid protobuf message of this type.");
  }
}

function decodeJson<Desc extends DescMessage>(
  schema: Desc,
  body: Uint8Array,
): Result<Decoded<Desc>> {
  try {
    const json = parseJsonStrictly(body);
    const overrides = takeUnclearFields(json);
    const wrongTime = wrongTimeIn(schema, json);
    if (wrongTime !== undefined) {
      return malformed(`${wrongTime} is not a time, such as 2026-01-31T12:00:00Z.`);
    }
    const message = fromJson(schema, json as JsonValue, { ignoreUnknownFields: false });
    return ok({ message, overrides });
  } catch (error) {
    // Only the producer that signed these bytes sees what is wrong with them.
    const { message } = error as Error;
    // A number that a double would change is a symbol by now.
    const explanation = message.replace(/\bsymbol$/, "number").slice(0, EXPLANATION_MAX_LENGTH);
    return malformed(`The body is not valid JSON of this message: ${explanation}`);
  }
}

/** A message, or a map, each entry of which is written as a message of a key and a value. */
type Composite = DescMessage | (DescField & { readonly fieldKind: "map" });

/** How a field stands in the bytes. */
interface FieldForm {
  readonly wireType: WireType;
  /** What is inside it, if that has fields of its own. */
  readonly content: Composite | undefined;
}

/** A walk through the bytes of a message, in place. */
interface Walk {
  readonly reader: BinaryReader;
  /** How many values of a payload were met. */
  values: number;
}

/**
 * Whether the bytes up to `end` are exactly fields that the schema defines, each of its own
 * wire type and within the message that it is in, at any depth.
 *
 * The library is laxer: it keeps no unknown field that is in a Struct; it reads a field
 * by its type whatever the bytes say, so that a float and what stands behind it become a
 * price; it lets a field reach beyond its message; and it makes null of a Value that has no
 * kind, or a null of another number, and takes the last of several kinds.
 *
 * @throws Error if the bytes end before they should.
 */
function isAsDefined(walk: Walk, desc: Composite, end: number, depth: number): boolean {
  if (depth > DEPTH_MAX) return false;
  const { reader } = walk;
  const forms = fieldForms(desc);
  const isValue = desc.kind === "message" && desc.typeName === ValueSchema.typeName;
  if (isValue) walk.values += 1;
  /** What a Value, or an entry of a map, has exactly one of. */
  let kinds = 0;
  while (reader.pos < end) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    const wireType: WireType = tag & 7;
    const form = forms.get(number);
    if (form?.wireType !== wireType) return false;
    if (isValue || number === ENTRY_VALUE) kinds++;
    if (isValue && number === ValueSchema.field.nullValue.number) {
      if (reader.uint64() !== NULL_VALUE) return false;
    } else if (wireType === WireType.LengthDelimited) {
      const length = reader.uint32();
      const contentEnd = reader.pos + length;
      if (contentEnd > end) return false;
      if (form.content === undefined) reader.pos = contentEnd;
      else if (!isAsDefined(walk, form.content, contentEnd, depth + 1)) return false;
    } else reader.skip(wireType, number);
  }
  if (reader.pos !== end) return false;
  return isValue || desc.kind === "field" ? kinds === 1 : true;
}

const formsByComposite = new WeakMap<Composite, ReadonlyMap<number, FieldForm>>();

/** The forms of the fields by their numbers. */
function fieldForms(desc: Composite): ReadonlyMap<number, FieldForm> {
  let forms = formsByComposite.get(desc);
  if (forms === undefined) {
    forms = desc.kind === "field" ? entryForms(desc) : messageForms(desc);
    formsByComposite.set(desc, forms);
  }
  return forms;
}

function messageForms({ fields }: DescMessage): ReadonlyMap<number, FieldForm> {
  return new Map(
    fields.map((field) => {
      const content = field.fieldKind === "map" ? field : field.message;
      return [field.number, { wireType: wireTypeOf(field), content }];
    }),
  );
}

function entryForms(map: Composite & DescField): ReadonlyMap<number, FieldForm> {
  return new Map([
    [ENTRY_KEY, { wireType: scalarWireType(map.mapKey), content: undefined }],
    [ENTRY_VALUE, { wireType: valueWireType(map.mapKind, map.scalar), content: map.message }],
  ]);
}

function wireTypeOf(field: DescField): WireType {
  // Messages and texts are, and numbers in a list are packed.
  if (field.fieldKind === "list" || field.fieldKind === "map") return WireType.LengthDelimited;
  return valueWireType(field.fieldKind, field.scalar);
}

function valueWireType(
  kind: "scalar" | "enum" | "message",
  scalar: ScalarType | undefined,
): WireType {
  if (kind === "message") return WireType.LengthDelimited;
  return scalar === undefined ? WireType.Varint : scalarWireType(scalar);
}

/** Protocol Buffers, "Encoding", "Message Structure". */
function scalarWireType(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    default:
      return WireType.Varint;
  }
}

function malformed(message: string): Result<never> {
  return refused(refuse("MALFORMED_BODY", message));
}
