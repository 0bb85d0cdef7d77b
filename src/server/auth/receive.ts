/**
 * The front half of every signed request, whatever its protocol: the body is read
 * within its limits, and who sent it is proven. Nothing here looks into the body.
 */

import { refuse } from "../../signal/index.ts";
import type { BodyBudget } from "../http/bodyBudget.ts";
import { type Framing, type MessageReading, readMessage } from "../http/message.ts";
import type { NodeRequest } from "../http/nodeHttp.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import type { Admitted, Authenticate } from "./authenticate.ts";
import { boundFailure } from "./failedProof.ts";

/** What of a signed endpoint matters before its body is parsed. */
export interface SignedEndpointLimits {
  /** The request path, which is signed. */
  readonly path: string;
  /** The greatest message, in bytes, framing not counted. */
  readonly maxMessageBytes: number;
  /** Whether a request may hold more than one signal. */
  readonly isBatch: boolean;
  /** The memory that bodies of endpoints like this share until their senders are known. */
  readonly budget: BodyBudget;
}

/** The outcome of {@link receiveSigned}. */
export type Received =
  | Exclude<MessageReading, { kind: "read" }>
  | ({ readonly kind: "received"; readonly message: Uint8Array } & Admitted);

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
  using reservation = endpoint.budget.reserve(record.caller.address);
  const { path, maxMessageBytes, isBatch } = endpoint;
  const reading = await readMessage(request, framing, maxMessageBytes, { timeoutMs, reservation });
  if (reading.kind !== "read") return reading;

  const { message } = reading;
  const { headers } = request;
  const result = await authenticate({ headers, endpoint: path, body: message, isBatch });
  if (!result.ok) {
    // Such a producer has proven itself, but maybe long ago: a request that was captured and
    // is sent again is refused so, too.
    if (result.producerId !== undefined) record.producerId = result.producerId;
    return { kind: "refused", refusal: await boundFailure(result.refusal, record.caller) };
  }
  const { standing, origin, admitBatch } = result.value;
  record.caller.prove(standing);
  record.producerId = origin.producer.producerId;
  return { kind: "received", message, origin, admitBatch };
}
