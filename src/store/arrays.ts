/**
 * Arrays as parameters of a statement.
 *
 * They go as text in PostgreSQL's own form, and the statement says what they are an array
 * of. The driver's own arrays need the types that it does not fetch here, and convert on
 * the way: they would cut times to milliseconds.
 */

const SPECIAL = /["\\]/;
const SPECIALS = /["\\]/g;

/**
 * PostgreSQL's text form of an array (documentation, section 8.15.6). `undefined` becomes
 * NULL.
 */
export function toArray(values: Iterable<string | number | boolean | undefined>): string {
  return `{${Array.from(values, toElement).join(",")}}`;
}

function toElement(value: string | number | boolean | undefined): string {
  if (value === undefined) {
    return "NULL";
  }
  if (typeof value !== "string") {
    return String(value);
  }
  // Most texts need no escape, and to look for one costs less than to replace none.
  return `"${SPECIAL.test(value) ? value.replaceAll(SPECIALS, "\\$&") : value}"`;
}

/** PostgreSQL's text form of bytes (documentation, section 8.4.1). */
export function toBytea(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes).toString("hex")}`;
}
