import type { JsonObject, JsonValue } from "../../src/signal/index.ts";

/** The same object, with the keys in it and below it in the opposite order. */
export function withReversedKeys(object: JsonObject): JsonObject {
  return withKeys(object, (keys) => keys.reverse());
}

/** The same object, with the keys in it and below it in the order of their UTF-16 units. */
export function withSortedKeys(object: JsonObject): JsonObject {
  return withKeys(object, (keys) => keys.sort());
}

function withKeys(object: JsonObject, order: (keys: string[]) => string[]): JsonObject {
  const convert = (value: JsonValue): JsonValue => {
    if (Array.isArray(value)) return value.map(convert);
    return typeof value === "object" && value !== null ? withKeys(value, order) : value;
  };
  const keys = order(Object.keys(object));
  // Object.fromEntries defines keys, so that even "__proto__" stays a key.
  return Object.fromEntries(keys.map((key) => [key, convert(object[key] as JsonValue)]));
}
