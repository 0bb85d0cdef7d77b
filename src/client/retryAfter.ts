/**
 * The `Retry-After` header (RFC 9110, section 10.2.3), by which a proxy before the service
 * names a delay; the service itself also sends `RetryInfo`. Pure.
 */

const MS_PER_SECOND = 1_000;

/** Seconds, of which the RFC knows whole ones only, but some send fractions. */
const SECONDS = /^[0-9]{1,15}(\.[0-9]{1,15})?$/;
/** The three forms of a date in RFC 9110, section 5.6.7; the last one names no zone. */
const DATE = /^[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/**
 * The delay in milliseconds, of any length. One given as a date is counted from the `Date` of the
 * same answer, so that this machine's clock need not be right.
 *
 * @returns `undefined` if there is none, or none that can be read.
 */
export function parseRetryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  if (SECONDS.test(text)) return Math.ceil(Number(text) * MS_PER_SECOND);
  const delayMs = parseDate(text) - parseDate(headers.get("date") ?? "");
  return Number.isNaN(delayMs) ? undefined : Math.max(0, delayMs);
}

/** `NaN` for what is no date: `Date.parse` takes 1.5 for one, in the year 2001. */
function parseDate(text: string): number {
  if (DATE.test(text)) return Date.parse(text);
  return ASCTIME_DATE.test(text) ? Date.parse(`${text} GMT`) : Number.NaN;
}
