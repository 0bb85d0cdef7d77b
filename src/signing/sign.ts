/**
 * Signing: what a producer does for every attempt to send a request.
 */
import { HEADER_PRODUCER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP } from "./headers.ts";
import type { Secret } from "./secret.ts";
import { malformedPart, type SignedRequest, stringToSign } from "./stringToSign.ts";

/**
 * The signature of a request: HMAC-SHA256 of its string to sign, in standard base64 with
 * padding, 44 characters.
 *
 * @throws TypeError, naming the part but not its value, if the request is one that no
 *   server can accept, such as one with a query string or a malformed timestamp.
 */
export function sign(secret: Secret, request: SignedRequest): string {
  const malformed = malformedPart(request);
  if (malformed !== undefined) {
    throw new TypeError(`The request cannot be signed: its ${malformed} is malformed.`);
  }
  return secret.hmacSha256(stringToSign(request)).toString("base64");
}

/** The three headers of a signed request, by name. */
export type SignatureHeaders = Readonly<
  Record<typeof HEADER_PRODUCER_ID | typeof HEADER_TIMESTAMP | typeof HEADER_SIGNATURE, string>
>;

/**
 * The headers to send with a request. A request that is sent again needs new ones, with
 * the time of the new attempt.
 *
 * @throws TypeError as {@link sign} does.
 */
export function signatureHeaders(
  request: SignedRequest & { readonly secret: Secret },
): SignatureHeaders {
  return {
    [HEADER_PRODUCER_ID]: request.producerId,
    [HEADER_TIMESTAMP]: request.timestamp,
    [HEADER_SIGNATURE]: sign(request.secret, request),
  };
}
