/**
 * A message as the bytes that a Connect transport will send. The signature covers these
 * bytes, so whatever signs must make them in the very same way.
 */
import {
  type BinaryWriteOptions,
  clone,
  type DescMessage,
  type JsonWriteOptions,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import type { JsonObject, JsonValue } from "../signal/index.ts";

/** How the transport serialises: the same options that it was made with. */
export interface SerializeOptions {
  readonly binaryOptions?: Partial<BinaryWriteOptions> | undefined;
  readonly jsonOptions?: Partial<JsonWriteOptions> | undefined;
}

/** Serialises as connect-es does (`createMethodSerializationLookup`). */
export function serialize<Desc extends DescMessage>(
  desc: Desc,
  message: MessageShape<Desc>,
  codec: "binary" | "json",
  { binaryOptions, jsonOptions }: SerializeOptions = {},
): Uint8Array {
  return codec === "json"
    ? Buffer.from(toJsonString(desc, message, jsonOptions))
    : toBinary(desc, message, binaryOptions);
}

/**
 * A copy of a message in which the keys of every `google.protobuf.Struct` are sorted, so
 * that equal messages give equal bytes: a Struct keeps the order in which its keys were
 * set. The contract has no other maps.
 */
export function withSortedKeys<Desc extends DescMessage>(
  desc: Desc,
  message: MessageShape<Desc>,
): MessageShape<Desc> {
  const copy = clone(desc, message);
  sortStructs(desc, copy as unknown as Record<string, unknown>);
  return copy;
}

function sortStructs(desc: DescMessage, message: Record<string, unknown>): void {
  for (const field of desc.fields) {
    const value = message[field.localName];
    if (value === undefined) continue;
    if (field.fieldKind === "message" && field.message.typeName === "google.protobuf.Struct") {
      message[field.localName] = sorted(value as JsonObject);
    } else if (field.fieldKind === "message") {
      sortStructs(field.message, value as Record<string, unknown>);
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of value as Record<string, unknown>[]) sortStructs(field.message, item);
    }
  }
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const keys = Object.keys(value).sort();
  // Object.fromEntries defines keys, so that even "__proto__" stays a key.
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key] as JsonValue)]));
}
