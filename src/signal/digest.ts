import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import { SIGNAL_FIELD_LIST, type Signal } from "./fields.ts";
import type { JsonObject, JsonValue } from "./values.ts";

/**
 * The SHA-256 of a signal's content, 32 bytes: equal for two signals exactly if every
 * field is equal, whatever protocol they came by.
 *
 * What is hashed is the RFC 8785 canonical JSON of the signal with its snake_case field
 * names; absent fields and empty texts are left out, times are decimal strings of
 * nanoseconds since 1970.
 *
 * @param payload the payload by {@link canonicalPayload}, if it was made already.
 */
export function contentSha256(
  signal: Signal,
  payload = signal.payload && canonicalPayload(signal.payload),
): Buffer {
  return hash("sha256", canonicalJson(signal, payload), "buffer");
}

/** The RFC 8785 canonical JSON of a payload. */
export function canonicalPayload(payload: JsonObject): string {
  // RFC 8785 differs from JSON.stringify in the order of keys only (section 3.2), and to look
  // at that order takes less time and memory than to put the text together piece by piece.
  if (hasSortedKeys(payload)) return JSON.stringify(payload);
  // A copy, since those pieces would all be kept.
  return Buffer.from(canonicalize(payload) as string).toString();
}

/** Whether the keys of each object in a value are in the order of their UTF-16 code units. */
function hasSortedKeys(value: JsonValue): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every(hasSortedKeys);
  let last: string | undefined;
  for (const [key, item] of Object.entries(value)) {
    if (last !== undefined && last > key) return false;
    if (!hasSortedKeys(item)) return false;
    last = key;
  }
  return true;
}

/**
 * The fields in the order of RFC 8785, section 3.2.3, each with its name as it is written. Only
 * the payload needs the canonical form made: JSON.stringify writes texts, and this language
 * writes numbers, as section 3.2.2 does.
 */
const MEMBERS = SIGNAL_FIELD_LIST.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(
  ({ field, name, kind }) => ({ field, kind, name: `"${name}":` }),
);

function canonicalJson(signal: Signal, payload: string | undefined): string {
  let members = "";
  for (const { field, kind, name } of MEMBERS) {
    const value = signal[field];
    if (value === undefined || value === "") continue;
    if (members !== "") members += ",";
    members += name;
    if (kind === "object") members += payload;
    else if (kind === "text") members += JSON.stringify(value);
    else members += kind === "number" ? value : `"${value}"`;
  }
  return `{${members}}`;
}
