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
