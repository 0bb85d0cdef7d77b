/**
 * Hosts as requests name them and as addresses to listen on. A server that is meant for
 * this machine only must be asked under a name of this machine, since the name of any web
 * page may resolve to it (DNS rebinding).
 */
import { isIPv4, isIPv6 } from "node:net";

/**
 * The strict form of a Host header or an :authority (RFC 3986, section 3.2; RFC 9110,
 * section 7.2). The protocol library builds a URL from it and throws, outside of any
 * handler, on what is none; such a request must not get that far.
 */
const HOST = /^(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?$/;

/** Whether a request may name this host. */
export function isValidHost(host: string | undefined): host is string {
  const match = host === undefined ? null : HOST.exec(host);
  if (match === null) return false;
  return Number(match[1] ?? 0) <= 65_535 && URL.canParse(`http://${host}/`);
}

/** Whether a valid host, with any port, can only be this machine. */
export function isLoopbackHost(host: string): boolean {
  // Written out in full, so that 127.1 is an address and 127.example.com is none.
  const { hostname } = new URL(`http://${host}/`);
  const isLoopbackIPv4 = isIPv4(hostname) && hostname.startsWith("127.");
  return hostname === "localhost" || hostname === "[::1]" || isLoopbackIPv4;
}

/** Whether an address to bind is reachable from this machine only. */
export function isLoopbackAddress(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** What a server listens on when it listens on every address of its machine. */
const WILDCARDS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** Whether an address stands for all of a machine, so that no client can name it. */
export function isWildcardAddress(address: string): boolean {
  return WILDCARDS.has(address);
}

/** An IP address as URLs have it (RFC 3986, section 3.2.2). */
export function urlHost(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}
