/**
 * The `Retry-After` header (RFC 9110, section 10.2.3), by which a proxy before the service
 * names a delay; the service itself also sends `RetryInfo`. Pure.
 */

const MS_PER_SECOND = 1_000;

/**
 * The delay in milliseconds. One given as a date is counted from the `Date` of the same
 * answer, so that this machine's clock need not be right.
 *
 * @returns `undefined` if there is none, or none that can be read.
 */
export function parseRetryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * MS_PER_SECOND;
  const delayMs = Date.parse(text) - Date.parse(headers.get("date") ?? "");
  return Number.isNaN(delayMs) ? undefined : Math.max(0, delayMs);
}
