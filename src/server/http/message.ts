/**
 * The one message that the body of a request holds, out of what its protocol puts around it.
 */
import type { Refusal } from "../../signal/index.ts";
import { type BodyLimits, readBody } from "./body.ts";
import type { NodeRequest } from "./nodeHttp.ts";

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
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** The body is the message. */
export const UNFRAMED: Framing = {
  bytes: 0,
  unwrap: (bytes) => ({ kind: "message", bytes }),
};

/** The outcome of {@link readMessage}. */
export type MessageReading =
  /** The caller is gone; nobody waits for an answer. */
  | { readonly kind: "aborted" }
  /** The message is compressed, which no endpoint takes. */
  | { readonly kind: "compressed" }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** The message, and the body that it came in. */
  | { readonly kind: "read"; readonly message: Uint8Array; readonly body: Uint8Array };

/**
 * Reads a request to the end of its body. Never rejects.
 *
 * @param maxMessageBytes the greatest message, framing not counted.
 */
export async function readMessage(
  request: NodeRequest,
  framing: Framing,
  maxMessageBytes: number,
  limits: Pick<BodyLimits, "timeoutMs" | "reservation">,
): Promise<MessageReading> {
  const contentLength = request.headers["content-length"];
  const maxBytes = maxMessageBytes + framing.bytes;
  const reading = await readBody(request, { ...limits, contentLength, maxBytes });
  if (reading.kind !== "read") return reading;
  const unwrapped = framing.unwrap(reading.bytes);
  if (unwrapped.kind !== "message") return unwrapped;
  return { kind: "read", message: unwrapped.bytes, body: reading.bytes };
}
