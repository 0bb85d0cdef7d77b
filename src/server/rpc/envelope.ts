/**
 * The framing that gRPC and gRPC-Web put around a message: one byte of flags, four of
 * length, the message (gRPC over HTTP/2, "Length-Prefixed-Message").
 */
import { type Refusal, refuse } from "../../signal/index.ts";

/** Bytes of framing around a message. */
export const ENVELOPE_BYTES = 5;

const COMPRESSED_FLAG = 0b0000_0001;

/** The outcome of {@link unwrapEnvelope}. */
export type Unwrapping =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "compressed" }
  | { readonly kind: "malformed"; readonly refusal: Refusal };

/** Takes the framing off the body of a unary call, which holds exactly one message. */
export function unwrapEnvelope(body: Uint8Array): Unwrapping {
  if (body.length < ENVELOPE_BYTES)
    return malformed("The body lacks the five bytes of gRPC framing.");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const flags = view.getUint8(0);
  if (flags === COMPRESSED_FLAG) return { kind: "compressed" };
  if (flags !== 0) return malformed("The gRPC framing has flags that are not defined.");
  if (view.getUint32(1) !== body.length - ENVELOPE_BYTES) {
    return malformed(
      "The body is not exactly one gRPC message of the length that its framing says.",
    );
  }
  return { kind: "message", bytes: body.subarray(ENVELOPE_BYTES) };
}

function malformed(message: string): Unwrapping {
  return { kind: "malformed", refusal: refuse("MALFORMED_BODY", message) };
}
