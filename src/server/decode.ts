/**
 * From the bytes of an RPC body to its message, strictly: whatever the contract does
 * not define is refused, since a misspelt stop loss must not vanish.
 */
import {
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Refusal, refuse } from "../ingest/index.ts";
import { jsonOverrides, type SignalOverrides } from "./jsonOverrides.ts";

/** How a message is serialised. */
export type Codec = "binary" | "json";

/** The outcome of {@link decodeMessage}. */
export type Decoding<Desc extends DescMessage> =
  | {
      readonly decoded: true;
      readonly message: MessageShape<Desc>;
      /** Fields of each signal that JSON got wrong; shorter than the signals means none. */
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
    if (hasUnknownFields(message)) return malformed("The message has a field that is not defined.");
    return { decoded: true, message, overrides: [] };
  } catch {
    return malformed("The body is not a valid protobuf message of this type.");
  }
}

function decodeJson<Desc extends DescMessage>(schema: Desc, body: Uint8Array): Decoding<Desc> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return malformed("The body is not valid UTF-8.");
  }
  let message: MessageShape<Desc>;
  try {
    message = fromJsonString(schema, text, { ignoreUnknownFields: false });
  } catch (error) {
    // Only the producer that signed these bytes sees what is wrong with them.
    const explanation = (error as Error).message.slice(0, EXPLANATION_MAX_LENGTH);
    return malformed(`The body is not valid JSON of this message: ${explanation}`);
  }
  return { decoded: true, message, overrides: jsonOverrides(JSON.parse(text)) };
}

/** Whether any message within, at any depth, kept a field number that its schema lacks. */
function hasUnknownFields(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasUnknownFields);
  if (typeof value !== "object" || value === null || !("$typeName" in value)) return false;
  if ("$unknown" in value && value.$unknown !== undefined) return true;
  return Object.values(value).some(hasUnknownFields);
}

function malformed(message: string): { readonly decoded: false; readonly refusal: Refusal } {
  return { decoded: false, refusal: refuse("MALFORMED_BODY", message) };
}
