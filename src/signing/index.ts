/**
 * Signing and verifying requests: the same code for the client, the server, and the
 * command line, published as `countersign/signing`. The rules are told in
 * `docs/signing.md`.
 */
export {
  type CredentialKind,
  type CredentialParts,
  type CredentialReading,
  credentialFault,
  generateCredential,
  readCredential,
} from "./credential.ts";
export { HEADER_PRODUCER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP } from "./headers.ts";
export { generateSecret, SECRET_MIN_BYTES, Secret } from "./secret.ts";
export { type SignatureHeaders, sign, signatureHeaders } from "./sign.ts";
export {
  bodySha256,
  isProducerId,
  malformedPart,
  PRODUCER_ID_RULE,
  type SignedRequest,
  stringToSign,
} from "./stringToSign.ts";
export { formatTimestamp, parseTimestamp } from "./timestamp.ts";
export { parseSignature, verify } from "./verify.ts";
