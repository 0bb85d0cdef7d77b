/**
 * Reading a request's body whole, within its size limit and its deadline. The bytes
 * are what the signature covers, so they are read before anything else may happen.
 */
import type { Readable } from "node:stream";
import { type Refusal, refuse } from "../ingest/index.ts";

/** The outcome of {@link readBody}; `aborted`: the caller is gone, nobody waits for an answer. */
export type BodyReading =
  | { readonly kind: "read"; readonly bytes: Buffer }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "aborted" };

/**
 * Reads to the end of the stream.
 *
 * @param maxBytes of the body, framing included. Beyond it reading stops at once.
 * @param timeoutMs how long the whole body may take.
 */
export function readBody(
  stream: Readable,
  contentLength: string | undefined,
  maxBytes: number,
  timeoutMs: number,
): Promise<BodyReading> {
  if (Number(contentLength) > maxBytes) return Promise.resolve(tooLarge(maxBytes));
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => finish(tooSlow()), Math.max(0, timeoutMs));
    function finish(reading: BodyReading): void {
      clearTimeout(timer);
      stream.off("data", onData).off("end", onEnd).off("aborted", onClose).off("close", onClose);
      stream.pause();
      resolve(reading);
    }
    function onData(chunk: Buffer): void {
      length += chunk.length;
      if (length > maxBytes) finish(tooLarge(maxBytes));
      else chunks.push(chunk);
    }
    function onEnd(): void {
      finish({
        kind: "read",
        bytes: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks),
      });
    }
    function onClose(): void {
      finish({ kind: "aborted" });
    }
    // A stream of HTTP/2 that is reset half-way says "aborted", and then "end" as if the
    // body were whole.
    stream.on("data", onData).on("end", onEnd).on("aborted", onClose).on("close", onClose);
    // The listener stays, since a late error without one would end the process. What it
    // would tell is known from "close".
    stream.on("error", onClose);
    // A caller that left before the listeners were there emits nothing any more.
    if (stream.destroyed && !stream.readableEnded) onClose();
  });
}

function tooLarge(maxBytes: number): BodyReading {
  const message = `The body is larger than the ${maxBytes} bytes that this endpoint takes.`;
  return { kind: "refused", refusal: refuse("BODY_TOO_LARGE", message) };
}

function tooSlow(): BodyReading {
  const message = "The body did not arrive in time. Send it again under the same idempotency key.";
  return { kind: "refused", refusal: refuse("DEADLINE_EXCEEDED", message) };
}
