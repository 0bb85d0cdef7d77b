/**
 * The names of the three headers (in gRPC: metadata keys) that carry a signature.
 * In lower case, as HTTP/2 and gRPC require and as Node.js reports them.
 */

/** Who sends the request: see `isProducerId`. */
export const HEADER_PRODUCER_ID = "x-producer-id";

/** When this attempt was signed: see `parseTimestamp`. */
export const HEADER_TIMESTAMP = "x-timestamp";

/** The signature of this attempt: see `parseSignature`. */
export const HEADER_SIGNATURE = "x-signature";
