/**
 * What is to be known of the other side of an HTTP call: which URL may be called, how long it
 * asks to be left alone, and why its socket failed. Pure.
 */

/** The outcome of {@link parseServerUrl}. */
export type ServerUrlVerdict =
  | {
      readonly valid: true;
      /** Scheme, host, port and path, without anything else. */
      readonly baseUrl: string;
    }
  | {
      readonly valid: false;
      /** The rule that the URL breaks. Never repeats the URL, which may hold a password. */
      readonly rule: string;
    };

/**
 * Judges the URL of a server. It must be `https`, so that no one on the way can read
 * signals or withhold a chosen one; plain `http` may go to this machine only. A path is
 * allowed, for a proxy that takes it off before it passes requests on.
 */
export function parseServerUrl(text: string): ServerUrlVerdict {
  const rule = transportRule(text);
  if (rule !== undefined) return { valid: false, rule };
  if (/[?#]/.test(text)) {
    return { valid: false, rule: "must have no query and no fragment" };
  }
  const { origin, pathname } = new URL(text);
  return { valid: true, baseUrl: `${origin}${pathname}` };
}

/** Who else listens on the way cannot be known of any other host. */
const LOOPBACK_ONLY = "to 127.0.0.0/8, [::1] and localhost only";

/**
 * The rule that a URL breaks by its scheme or by a user name, undefined if it breaks none:
 * it must be `https`, or `http` to this machine.
 */
export function transportRule(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    // In localhost:8080 the host was taken for the scheme, so the scheme is not what is wrong.
    return text.includes("://")
      ? `must be an https URL, or http ${LOOPBACK_ONLY}`
      : `must begin with https://, or with http:// ${LOOPBACK_ONLY}`;
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    return `must be https, since http is allowed ${LOOPBACK_ONLY}`;
  }
  if (url.username !== "" || url.password !== "") {
    return "must hold no user name and no password";
  }
  return undefined;
}

/**
 * Whether a host is this machine.
 *
 * @param hostname as `URL` gives it: IPv4 in four decimal parts, IPv6 in brackets.
 */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname === "[::1]" ||
    /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(hostname)
  );
}

const MS_PER_SECOND = 1_000;

/** Seconds, of which the RFC knows whole ones only, but some send fractions. */
const SECONDS = /^[0-9]{1,15}(\.[0-9]{1,15})?$/;
/** The three forms of a date in RFC 9110, section 5.6.7; the last one names no zone. */
const DATE = /^[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/**
 * The delay that the `Retry-After` header names (RFC 9110, section 10.2.3), in milliseconds, of
 * any length. One given as a date is counted from the `Date` of the
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

/**
 * A thrown value and its causes, from the outside in, each once: a chain of causes may lead
 * back to itself. It ends at the first that is no `Error`.
 */
export function causesOf(thrown: unknown): readonly Error[] {
  const causes = new Set<Error>();
  let error = thrown;
  while (error instanceof Error && !causes.has(error)) {
    causes.add(error);
    error = error.cause;
  }
  return [...causes];
}

/**
 * The code that Node.js gave a failure of a socket, a name lookup or TLS, such as
 * `ECONNRESET`, looked for among the causes too; undefined if there is none. The code alone
 * is safe to show: messages hold URLs.
 */
export function errorCode(thrown: unknown): string | undefined {
  for (const error of causesOf(thrown)) {
    if ("code" in error && typeof error.code === "string" && CODE.test(error.code)) {
      return error.code;
    }
  }
  return undefined;
}

const CODE = /^[A-Z][A-Z0-9_]{1,60}$/;
