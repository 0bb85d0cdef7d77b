/**
 * What a signature covers: the method, the path, the timestamp, the producer, and the
 * body of a request, as five lines of text.
 */
import { hash } from "node:crypto";
import { parseTimestamp } from "./timestamp.ts";

/** The parts of a request that its signature covers. */
export interface SignedRequest {
  /** Every signed endpoint is called by POST, which is also the default. */
  readonly method?: "POST";
  /**
   * The path of the request, for instance `/signals.v1.IngestService/Ingest`: no scheme,
   * no host, and no query string, which a signed endpoint does not take.
   */
  readonly endpoint: string;
  /** The `x-timestamp` header, verbatim. */
  readonly timestamp: string;
  /** The `x-producer-id` header, verbatim. */
  readonly producerId: string;
  /** The message as the producer serialised and sent it, after gRPC framing is taken off. */
  readonly body: Uint8Array;
}

/** What a producer id looks like, as an English phrase for a message. */
export const PRODUCER_ID_RULE =
  "must be 1 to 64 letters, digits, dots, underscores, or hyphens of ASCII, and start with a letter or digit";

const PRODUCER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Whether a text can be the id of a producer: see {@link PRODUCER_ID_RULE}. */
export function isProducerId(text: string): boolean {
  return PRODUCER_ID.test(text);
}

// Visible ASCII without "?" and "#". A line feed in a path could otherwise move the
// boundaries between the lines that are signed.
const ENDPOINT = /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/;

/** The part of the request that can be in no signed request, or `undefined` if all can. */
export function malformedPart(request: SignedRequest): keyof SignedRequest | undefined {
  if (request.method !== undefined && request.method !== "POST") {
    return "method";
  }
  if (!ENDPOINT.test(request.endpoint)) {
    return "endpoint";
  }
  if (parseTimestamp(request.timestamp) === undefined) {
    return "timestamp";
  }
  if (!isProducerId(request.producerId)) {
    return "producerId";
  }
  return undefined;
}

/** The SHA-256 of a body, in standard base64 with padding. */
export function bodySha256(body: Uint8Array): string {
  return hash("sha256", body, "base64");
}

/**
 * The text whose HMAC is the signature: five lines joined by line feeds, without one at
 * the end. It checks nothing, so that the text of a wrong request can be shown too;
 * `sign` and `verify` do check.
 */
export function stringToSign(request: SignedRequest): string {
  return [
    `METHOD:${request.method ?? "POST"}`,
    `ENDPOINT:${request.endpoint}`,
    `TIMESTAMP:${request.timestamp}`,
    `PRODUCER_ID:${request.producerId}`,
    `BODY_SHA256:${bodySha256(request.body)}`,
  ].join("\n");
}
