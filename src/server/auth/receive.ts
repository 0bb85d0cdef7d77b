/**
 * The front half of every signed request, whatever its protocol: the body is read
 * within its limits, and who sent it is proven. Nothing here looks into the body.
 */

import type { Origin } from "../../ingest/index.ts";
import { type Refusal, refuse } from "../../signal/index.ts";
import { readBody } from "../http/body.ts";
import type { BodyBudget } from "../http/bodyBudget.ts";
import type { NodeRequest } from "../http/nodeHttp.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import type { Authenticate } from "./authenticate.ts";

/** What of a signed endpoint matters before its body is parsed. */
export interface SignedEndpointLimits {
  /** The request path, which is signed. */
  readonly path: string;
  /** The greatest message, in bytes, framing not counted. */
  readonly maxMessageBytes: number;
  /** The memory that bodies of endpoints like this share until their senders are known. */
  readonly budget: BodyBudget;
}

/** What a protocol puts around a message in a body. It is not signed. */
export interface Framing {
  /** How many bytes it takes. */
  readonly bytes: number;
  unwrap(body: Uint8Array): Unwrapping;
}

/** A body without its framing. */
export type Unwrapping =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "compressed" }
  | { readonly kind: "malformed"; readonly refusal: Refusal };

/** The body is the message. */
export const UNFRAMED: Framing = {
  bytes: 0,
  unwrap: (bytes) => ({ kind: "message", bytes }),
};

/** The outcome of {@link receiveSigned}. */
export type Received =
  /** The caller is gone; nobody waits for an answer. */
  | { readonly kind: "aborted" }
  /** The message is compressed, which a signed endpoint does not take. */
  | { readonly kind: "compressed" }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "received"; readonly message: Uint8Array; readonly origin: Origin };

/**
 * Reads and authenticates one signed request.
 *
 * @param timeoutMs how long the body may take.
 */
export async function receiveSigned(
  request: NodeRequest,
  endpoint: SignedEndpointLimits,
  framing: Framing,
  timeoutMs: number,
  authenticate: Authenticate,
  record: RequestRecord,
): Promise<Received> {
  if (request.url !== endpoint.path) {
    const message = "A signed endpoint takes no query string.";
    return { kind: "refused", refusal: refuse("MALFORMED_BODY", message) };
  }
  const maxBytes = endpoint.maxMessageBytes + framing.bytes;
  const contentLength = request.headers["content-length"];
  using reservation = endpoint.budget.reserve(record.caller.address);
  const reading = await readBody(request, { contentLength, maxBytes, timeoutMs, reservation });
  if (reading.kind !== "read") return reading;

  const unwrapped = framing.unwrap(reading.bytes);
  if (unwrapped.kind === "compressed") return unwrapped;
  if (unwrapped.kind === "malformed") return { kind: "refused", refusal: unwrapped.refusal };

  const message = unwrapped.bytes;
  const { headers } = request;
  const result = await authenticate({ headers, endpoint: endpoint.path, body: message });
  if (!result.ok) {
    // Such a producer has proven itself, but maybe long ago: a request that was captured and
    // is sent again is refused so, too.
    if (result.producerId !== undefined) record.producerId = result.producerId;
    return { kind: "refused", refusal: result.refusal };
  }
  record.caller.prove();
  record.producerId = result.value.producer.producerId;
  return { kind: "received", message, origin: result.value };
}
