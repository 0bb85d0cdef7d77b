/**
 * What an answer means that is no Countersign server's: that of a proxy, of another program or of
 * the wrong port. It says what was met, at which URL, and what to do. Pure.
 */

import { cutText, oneLine, sentence } from "../alerts/index.ts";
import type { SignalErrorReason } from "./errorReason.ts";
import type { Exchange } from "./exchange.ts";

/** What is to be told of a foreign answer. */
export interface ForeignAnswer {
  readonly reason: SignalErrorReason;
  readonly message: string;
}

const TEXT_MAX_UNITS = 300;
const SEE_URL = "See that the URL (OUTBOUND_SERVER_URL) has the host, port and path of the server";
const SEE_PUBLIC_PORT = `${SEE_URL}: of its public port, not of its operations port.`;
const SEE_BETWEEN =
  "Something on the way refuses the calls: see the rules of the proxy or firewall there. Or else " +
  `another program answers. ${SEE_URL}.`;

/** What a person does about each status. */
const ADVICE_BY_STATUS: Readonly<Record<number, string>> = {
  400: `If that is a TLS port, the URL must begin with https. ${SEE_BETWEEN}`,
  404: SEE_PUBLIC_PORT,
  405: SEE_PUBLIC_PORT,
  407: "A proxy wants credentials: put them into HTTPS_PROXY, or except the host by NO_PROXY.",
  411: "Have the proxy on the way pass requests whose length is not told before (chunked ones).",
  413:
    "The signal is too large for what stands on the way: have its limit raised (that of nginx is " +
    "client_max_body_size), or send less.",
  415: "Have the proxy on the way pass the content type of the calls, or choose another `codec`.",
  431: "Have the proxy on the way take requests with some more bytes of headers.",
};

/** Statuses of a server that fails or is busy, which passes by itself. */
function isPassing(status: number): boolean {
  if ([408, 425, 429].includes(status)) return true;
  return status >= 500 && ![501, 505, 511].includes(status);
}

/** The meaning of an answer of HTTP; `undefined` if it may be the service's, or passes by itself. */
export function foreignAnswer(exchange: Exchange): ForeignAnswer | undefined {
  const { status, url, headers } = exchange;
  if (status === undefined || isPassing(status)) return undefined;
  const isSuccess = status >= 200 && status < 300;
  const type = mediaType(headers?.["content-type"]);
  if (isSuccess && isExpected(type, exchange.expectedType)) return undefined;
  const met = isSuccess ? `HTTP ${status} with ${type}` : `HTTP ${status}`;
  const what = `${met} from ${url} is no answer of a Countersign server.`;
  return {
    reason: isSuccess ? "INVALID_RESPONSE" : (REASON_BY_STATUS[status] ?? "REFUSED"),
    message: `${what} ${isSuccess ? PAGE : advice(status, exchange)}`,
  };
}

const PAGE = `A page of another program, or one to log in at, answers. ${SEE_PUBLIC_PORT}`;

const REASON_BY_STATUS: Readonly<Record<number, SignalErrorReason>> = {
  401: "UNAUTHENTICATED",
  413: "BODY_TOO_LARGE",
};

function advice(status: number, { url, headers }: Exchange): string {
  if (status >= 300 && status < 400) {
    const target = URL.parse(headers?.location ?? "", url);
    // What stands elsewhere in a URL may be a secret of somebody's.
    const where = target === null ? "" : ` to ${cut(target.origin + target.pathname)}`;
    return `It redirects${where}, which is never followed. ${SEE_URL}.`;
  }
  return ADVICE_BY_STATUS[status] ?? SEE_BETWEEN;
}

/** gRPC has its codec at the end, which a server may leave out. */
function isExpected(type: string, expected: string): boolean {
  return type === expected || (expected.includes("grpc") && type.startsWith(expected));
}

function mediaType(contentType: string | undefined): string {
  const [type = ""] = (contentType ?? "").split(";");
  return cut(type.trim().toLowerCase()) || "no content type";
}

function cut(text: string): string {
  return oneLine(cutText(text, TEXT_MAX_UNITS));
}

/** Names the codes of Node.js by which a certificate is not trusted. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|HOSTNAME_MISMATCH/;

/** The meaning of errors of Node.js that no later attempt overcomes; `undefined` for others. */
export function foreignProtocol(
  causes: readonly Error[],
  words: string,
  url = "The URL",
): ForeignAnswer | undefined {
  const codes = causes.map((error) => ("code" in error ? String(error.code) : ""));
  const has = (pattern: RegExp) => codes.some((code) => pattern.test(code));
  if (causes.some(({ message }) => /SSL routines:.*:wrong version number/.test(message))) {
    // OpenSSL's own words name the lines of its source, and nothing that a person can act on.
    const what = `${url} says https, but what answers there speaks no TLS, probably plain http`;
    return { reason: "REFUSED", message: `${what}: see that its scheme and port are right.` };
  }
  if (has(/^HPE_/)) {
    const what = `What answers at ${url} speaks no HTTP, probably TLS`;
    return {
      reason: "INVALID_RESPONSE",
      message: `${what}: see that its scheme and port are right.`,
    };
  }
  if (has(/^ERR_HTTP2_ERROR$/)) {
    const what = `What answers at ${url} speaks no HTTP/2 as it should: ${sentence(words)}`;
    return { reason: "INVALID_RESPONSE", message: `${what} ${SEE_PUBLIC_PORT}` };
  }
  if (has(UNTRUSTED)) {
    const trust = "Have the server's certificate renewed, or give its authority as `tlsCa`";
    const what = `The certificate of ${url} is not trusted: ${sentence(words)}`;
    return { reason: "REFUSED", message: `${what} ${trust} (or in NODE_EXTRA_CA_CERTS).` };
  }
  if (has(/^ERR_PROXY_TUNNEL$/)) {
    return {
      reason: "REFUSED",
      message: `The proxy does not pass calls to ${url}. See HTTPS_PROXY.`,
    };
  }
  return undefined;
}
