/**
 * What HTTP lets callers write in several ways, written in one, before anything else reads
 * it: the target in its origin form, one host, and a media type without empty parameters.
 */
import { isLoopbackHost, isValidHost } from "./host.ts";
import type { NodeRequest } from "./nodeHttp.ts";

/** Why a request cannot be served, whatever it asks for. */
export interface FormFault {
  readonly status: 400 | 403 | 421;
  readonly detail: string;
}

/** A target in absolute form (RFC 9112, section 3.2.2): scheme, authority, and path with query. */
const ABSOLUTE_FORM = /^(https?):\/\/([^/?#]*)(.*)$/i;

/** A host for what needs one, of a request that names none. */
const UNNAMED_HOST = "localhost";

/**
 * Brings a request into its one form.
 *
 * @param isLoopbackOnly whether it must name this machine as its host.
 * @returns what is wrong with its host, if something is.
 */
export function settleForm(request: NodeRequest, isLoopbackOnly: boolean): FormFault | undefined {
  const contentType = request.headers["content-type"];
  if (contentType?.includes(";") === true) {
    request.headers["content-type"] = withoutEmptyParameters(contentType);
  }
  if ("authority" in request) return hostFault(request.authority, isLoopbackOnly);

  const absolute = ABSOLUTE_FORM.exec(request.url ?? "");
  const [, scheme = "", authority, pathAndQuery = ""] = absolute ?? [];
  if (absolute !== null) {
    request.url = pathAndQuery.startsWith("/") ? pathAndQuery : `/${pathAndQuery}`;
  }
  const named = namedHosts(request.rawHeaders);
  // HTTP/1.0 had no Host yet, and health checks still do without.
  const isUnnamed = named.length === 0 && request.httpVersion === "1.0";
  if (!isUnnamed && (named.length !== 1 || !isValidHost(named[0]))) return MALFORMED_HOST;
  if (authority === undefined && isUnnamed) {
    request.headers.host = UNNAMED_HOST;
    // Every browser names a host, so that no web page comes this way. Even so, where nothing
    // else proves who asks, only what changes nothing is open to those who name none.
    const isRead = request.method === "GET" || request.method === "HEAD";
    return isLoopbackOnly && !isRead ? NOT_THIS_MACHINE : undefined;
  }
  if (authority === undefined) return hostFault(named[0], isLoopbackOnly);
  // RFC 9112, section 3.2.2: the authority replaces the Host header, whatever that says.
  request.headers.host = authority;
  const fault = hostFault(authority, isLoopbackOnly);
  if (fault !== undefined) return fault;
  return scheme.toLowerCase() === schemeOf(request) ? undefined : WRONG_SCHEME;
}

const MALFORMED_HOST: FormFault = {
  status: 400,
  detail: "The Host header is missing or malformed.",
};
const NOT_THIS_MACHINE: FormFault = {
  status: 400,
  detail: "The Host header must name this machine, as localhost does.",
};
/** RFC 9110, section 7.4: an https target must not be served in clear text. */
const WRONG_SCHEME: FormFault = {
  status: 421,
  detail: "The target's scheme is not that of this connection.",
};

function hostFault(host: string | undefined, isLoopbackOnly: boolean): FormFault | undefined {
  if (!isValidHost(host)) return MALFORMED_HOST;
  return isLoopbackOnly && !isLoopbackHost(host) ? NOT_THIS_MACHINE : undefined;
}

/** All hosts that a request names: with two, nobody knows which is meant (RFC 9112, section 3.2). */
function namedHosts(rawHeaders: readonly string[]): string[] {
  const hosts: string[] = [];
  for (let name = 0; name < rawHeaders.length; name += 2) {
    if (rawHeaders[name]?.toLowerCase() === "host") hosts.push(rawHeaders[name + 1] ?? "");
  }
  return hosts;
}

function schemeOf({ socket }: NodeRequest): string {
  return "encrypted" in socket && socket.encrypted === true ? "https" : "http";
}

/**
 * A media type as those who read it here expect it: `type/subtype; name=value`. Parameters may
 * be empty, surrounded by blanks, and quoted (RFC 9110, section 5.6.6).
 */
function withoutEmptyParameters(contentType: string): string {
  const [type = "", ...parameters] = contentType.split(";").map((part) => part.trim());
  const written = parameters
    .filter((parameter) => parameter !== "")
    .map((parameter) => parameter.replace(/="([^"\\]*)"$/, "=$1"));
  return [type, ...written].join("; ");
}
