/**
 * Points in time between the domain, in nanoseconds, and PostgreSQL, whose `timestamptz`
 * has microseconds. JavaScript's `Date` has only milliseconds, so it takes no part beyond
 * naming the calendar day and second.
 */
import type { Instant } from "../signal/index.ts";

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
