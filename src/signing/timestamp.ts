/**
 * The timestamps of signed requests: a strict subset of the RFC 3339 `date-time`, so
 * that every implementation can agree on which texts are timestamps.
 *
 * Three choices that RFC 3339 leaves open:
 * - `T` and `Z` are upper case (section 5.6 lets an application require it).
 * - The offset `-00:00` is allowed. It says that the local offset is unknown (section
 *   4.3); the instant is the same as with `Z`.
 * - The second is 00 to 59. A leap second, `:60`, is refused: Unix time has no instant
 *   for it, and a producer that waits a second can sign again.
 */

const NANOSECONDS_PER_MILLISECOND = 1_000_000n;
const MS_PER_MINUTE = 60_000;

/** 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z, in milliseconds since the epoch. */
const EARLIEST_MS = -62_167_219_200_000;
const LATEST_MS = 253_402_300_799_999;

// Ranges that do not depend on another field are part of the pattern.
const DATE = "([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
const TIME = "([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\\.([0-9]{1,9}))?";
const OFFSET = "(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))";
const TIMESTAMP = new RegExp(`^${DATE}T${TIME}${OFFSET}$`);

/**
 * The instant of an RFC 3339 date-time, in nanoseconds since 1970-01-01T00:00:00Z, leap
 * seconds not counted.
 *
 * @returns `undefined` unless the text is a date-time with `Z` or a numeric offset, at
 *   most 9 fraction digits, and a date that exists, and its instant lies in the years
 *   0000 to 9999 in UTC.
 */
export function parseTimestamp(text: string): bigint | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) {
    return undefined;
  }
  const [, year, month, day, hour, minute, second, fraction = "", sign, offsetHour, offsetMinute] =
    match;
  const date = new Date(0);
  // Not Date.UTC, which takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // A day that the month does not have has rolled over into the next month.
  if (date.getUTCDate() !== Number(day)) {
    return undefined;
  }
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const offsetMinutes =
    sign === undefined ? 0 : Number(`${sign}1`) * (Number(offsetHour) * 60 + Number(offsetMinute));
  const wholeSecondsMs = date.getTime() - offsetMinutes * MS_PER_MINUTE;
  if (wholeSecondsMs < EARLIEST_MS || wholeSecondsMs > LATEST_MS) {
    return undefined;
  }
  return BigInt(wholeSecondsMs) * NANOSECONDS_PER_MILLISECOND + BigInt(fraction.padEnd(9, "0"));
}

/**
 * An instant as an RFC 3339 date-time in UTC with `Z`, and with 0, 3, 6, or 9 fraction
 * digits: as few of these as hold it exactly. The inverse of {@link parseTimestamp}.
 *
 * @param instant Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
 * @throws RangeError if the instant lies outside the years 0000 to 9999.
 */
export function formatTimestamp(instant: bigint): string {
  let milliseconds = instant / NANOSECONDS_PER_MILLISECOND;
  let nanoseconds = instant % NANOSECONDS_PER_MILLISECOND;
  // The division of bigints rounds toward zero; before the epoch it has to round down.
  if (nanoseconds < 0n) {
    milliseconds -= 1n;
    nanoseconds += NANOSECONDS_PER_MILLISECOND;
  }
  if (milliseconds < EARLIEST_MS || milliseconds > LATEST_MS) {
    throw new RangeError("A timestamp must lie in the years 0000 to 9999.");
  }
  // Within these years, toISOString always has this form: YYYY-MM-DDTHH:MM:SS.sssZ.
  const iso = new Date(Number(milliseconds)).toISOString();
  const fraction = `${iso.slice(20, 23)}${String(nanoseconds).padStart(6, "0")}`;
  const digits = fraction.replace(/(?:000)+$/, "");
  return `${iso.slice(0, 19)}${digits === "" ? "" : `.${digits}`}Z`;
}
