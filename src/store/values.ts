/**
 * Values as parameters of a statement, and back.
 *
 * Arrays go as text in PostgreSQL's own form, and the statement says what they are an array
 * of. The driver's own arrays need the types that it does not fetch here, and convert on
 * the way: they would cut times to milliseconds.
 *
 * Times are nanoseconds in the domain, and PostgreSQL's `timestamptz` has microseconds.
 * JavaScript's `Date` has only milliseconds, so it takes no part beyond naming the calendar
 * day and second.
 */
import type { Instant } from "../signal/index.ts";

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

const NANOS_PER_MICRO = 1_000n;
const NANOS_PER_SECOND = 1_000_000_000n;

/**
 * The instant cut to the microsecond, in the form that PostgreSQL reads exactly, such as
 * `2025-10-25T14:30:45.123456Z`.
 *
 * @param instant from 1970 to the year 9999, which is all that a valid signal can hold.
 */
export function toTimestamptz(instant: Instant): string {
  const seconds = new Date(Number(instant / NANOS_PER_SECOND) * 1000).toISOString().slice(0, 19);
  const micros = (instant % NANOS_PER_SECOND) / NANOS_PER_MICRO;
  return `${seconds}.${micros.toString().padStart(6, "0")}Z`;
}

/** The nanoseconds that {@link toTimestamptz} cuts off, 0 to 999. */
export function nanosBelowMicro(instant: Instant): number {
  return Number(instant % NANOS_PER_MICRO);
}

/** The instant that is `micros` after 1970 and `nanos` more. */
export function fromMicros(micros: bigint, nanos = 0): Instant {
  return micros * NANOS_PER_MICRO + BigInt(nanos);
}
