/**
 * Verifying: what the server does before it looks at anything in a request's body.
 */
import { timingSafeEqual } from "node:crypto";
import { generateSecret, Secret } from "./secret.ts";
import { malformedPart, type SignedRequest, stringToSign } from "./stringToSign.ts";

/** The length of an HMAC-SHA256. */
const SIGNATURE_BYTES = 32;

/** The length of these bytes in base64 with padding. */
const SIGNATURE_CHARS = 44;

/** The most secrets that a producer has live at once: the old and the new one of a rotation. */
const LIVE_SECRETS_MAX = 2;

/** Stands in for the secrets that a producer does not have. No signature matches it. */
const DUMMY_SECRET = Secret.fromString(generateSecret());

/**
 * The bytes of an `x-signature` header, or `undefined` if it is not the standard base64,
 * with padding, of 32 bytes. Each signature has exactly one text that is accepted.
 */
export function parseSignature(text: string): Uint8Array | undefined {
  if (text.length !== SIGNATURE_CHARS) {
    return undefined;
  }
  // Node's decoder accepts more than standard base64: the URL-safe alphabet, characters
  // to skip, and unused bits that are not zero. Encoding again tells all of them.
  const bytes = Buffer.from(text, "base64");
  return bytes.length === SIGNATURE_BYTES && bytes.toString("base64") === text ? bytes : undefined;
}

/**
 * Whether the signature was made for this request with one of the secrets. Malformed
 * requests and signatures of a wrong length are not errors but simply not verified.
 * Freshness is not judged here.
 *
 * The time of a failure tells nothing about how much of a signature is right, or whether
 * the producer has two secrets, one, or (being unknown) none: each comparison takes constant
 * time, all secrets are tried, and dummies fill up to two. A success ends at the secret that
 * matched, which whoever signed with it knows already.
 */
export function verify(
  secrets: readonly Secret[],
  request: SignedRequest,
  signature: Uint8Array,
): boolean {
  const holders = secrets.map((secret) => ({ secret }));
  return findSigner(holders, request, signature) !== undefined;
}

/** As {@link verify}, of secrets with what is known of them. @returns whose secret it was. */
export function findSigner<Holder extends { readonly secret: Secret }>(
  holders: readonly Holder[],
  request: SignedRequest,
  signature: Uint8Array,
): Holder | undefined {
  const text = stringToSign(request);
  // timingSafeEqual throws on unequal lengths; an honest sender's length is no secret.
  const hasRightLength = signature.length === SIGNATURE_BYTES;
  const candidate = hasRightLength ? signature : new Uint8Array(SIGNATURE_BYTES);
  let signer: Holder | undefined;
  for (let i = 0; i < Math.max(holders.length, LIVE_SECRETS_MAX) && signer === undefined; i++) {
    const holder = holders[i];
    const expected = (holder?.secret ?? DUMMY_SECRET).hmacSha256(text);
    if (timingSafeEqual(expected, candidate)) signer = holder;
  }
  return hasRightLength && malformedPart(request) === undefined ? signer : undefined;
}
