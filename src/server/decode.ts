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
} from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type Refusal, refuse } from "../ingest/index.ts";
import { parseJsonStrictly } from "./jsonText.ts";
import { type SignalOverrides, takeUnclearFields } from "./unclearFields.ts";

/** How a message is serialised. */
export type Codec = "binary" | "json";

/** The outcome of {@link decodeMessage}. */
export type Decoding<Desc extends DescMessage> =
  | {
      readonly decoded: true;
      readonly message: MessageShape<Desc>;
      /** Fields of each signal that were read here, not by the library; empty in binary. */
      readonly overrides: readonly SignalOverrides[];
    }
  | { readonly decoded: false; readonly refusal: Refusal };

const BRACE = 0x7b;
const EXPLANATION_MAX_LENGTH = 300;

/** Decodes a body. Never throws. */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  codec: Codec,
  body: Uint8Array,
): Decoding<Desc> {
  // A JSON body begins with "{" and a protobuf body never does, so that no signed body
  // can be replayed as the other codec.
  if ((body[0] === BRACE) !== (codec === "json")) {
    const rule = codec === "json" ? "must begin with {" : "must not begin with {";
    return malformed(`A ${codec} body ${rule}.`);
  }
  return codec === "json" ? decodeJson(schema, body) : decodeBinary(schema, body);
}

function decodeBinary<Desc extends DescMessage>(schema: Desc, body: Uint8Array): Decoding<Desc> {
  try {
    const message = fromBinary(schema, body);
    if (hasUnknownFields(schema, body)) {
      return malformed("The message has a field that is not defined.");
    }
    return { decoded: true, message, overrides: [] };
  } catch {
    return malformed("The body is not a valid protobuf message of this type.");
  }
}

function decodeJson<Desc extends DescMessage>(schema: Desc, body: Uint8Array): Decoding<Desc> {
  try {
    const json = parseJsonStrictly(body);
    const overrides = takeUnclearFields(json);
    const message = fromJson(schema, json as JsonValue, { ignoreUnknownFields: false });
    return { decoded: true, message, overrides };
  } catch (error) {
    // Only the producer that signed these bytes sees what is wrong with them.
    const explanation = (error as Error).message.slice(0, EXPLANATION_MAX_LENGTH);
    return malformed(`The body is not valid JSON of this message: ${explanation}`);
  }
}

/** A message, or a map, each entry of which is written as a message of a key and a value. */
type Composite = DescMessage | (DescField & { readonly fieldKind: "map" });

/**
 * Whether the message, or one within it at any depth, has a field number that its schema
 * lacks. It is looked for in the bytes, since the library keeps none that is in a Struct.
 */
function hasUnknownFields(desc: Composite, bytes: Uint8Array): boolean {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const content = contentOf(desc, number);
    if (content === undefined) return true;
    if (content === "scalar") reader.skip(wireType, number);
    else if (hasUnknownFields(content, reader.bytes())) return true;
  }
  return false;
}

/** What the field of this number holds; `undefined` if there is none. */
function contentOf(desc: Composite, number: number): Composite | "scalar" | undefined {
  if (desc.kind === "field") {
    if (number === 1) return "scalar";
    return number === 2 ? (desc.message ?? "scalar") : undefined;
  }
  const field = desc.fields.find((candidate) => candidate.number === number);
  return field?.fieldKind === "map" ? field : field && (field.message ?? "scalar");
}

function malformed(message: string): { readonly decoded: false; readonly refusal: Refusal } {
  return { decoded: false, refusal: refuse("MALFORMED_BODY", message) };
}
