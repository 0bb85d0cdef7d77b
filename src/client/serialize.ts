/**
 * A message as the bytes that a Connect transport will send. The signature covers these
 * bytes, so whatever signs must make them in the very same way.
 */
import {
  type BinaryWriteOptions,
  type DescField,
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
 * A message in which the keys of every `google.protobuf.Struct` are sorted, so that equal
 * messages give equal bytes: a Struct keeps the order in which its keys were set. The contract
 * has no other maps. The message given stays as it is; what holds no Struct is shared with it,
 * since to copy a batch whole would take longer than to serialise it.
 */
export function withSortedKeys<Desc extends DescMessage>(
  desc: Desc,
  message: MessageShape<Desc>,
): MessageShape<Desc> {
  return withSortedStructs(desc, message as unknown as Fields) as unknown as MessageShape<Desc>;
}

/** A message by the names of its fields. */
type Fields = Record<string, unknown>;

function withSortedStructs(desc: DescMessage, message: Fields): Fields {
  let copy: Fields | undefined;
  for (const field of desc.fields) {
    const value = message[field.localName];
    const sortedValue = value === undefined ? undefined : withSortedValue(field, value);
    if (sortedValue === value) continue;
    copy ??= Object.assign(Object.create(Object.getPrototypeOf(message)), message) as Fields;
    copy[field.localName] = sortedValue;
  }
  return copy ?? message;
}

/** @returns the very same value if no Struct is in it. */
function withSortedValue(field: DescField, value: unknown): unknown {
  if (field.fieldKind === "message") {
    return field.message.typeName === "google.protobuf.Struct"
      ? sorted(value as JsonObject)
      : withSortedStructs(field.message, value as Fields);
  }
  if (field.fieldKind !== "list" || field.listKind !== "message") return value;
  const items = value as Fields[];
  const sortedItems = items.map((item) => withSortedStructs(field.message, item));
  return sortedItems.some((item, index) => item !== items[index]) ? sortedItems : items;
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const keys = Object.keys(value).sort();
  // Object.fromEntries defines keys, so that even "__proto__" stays a key.
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key] as JsonValue)]));
}
