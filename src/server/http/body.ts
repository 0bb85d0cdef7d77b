/**
 * Reading a request's body whole, within its size limit, its deadline, and the memory
 * that all bodies share. The bytes are what the signature covers, so they are read
 * before anything else may happen.
 */

import type { Readable } from "node:stream";
import { NOT_STORED, type Refusal, refuse } from "../../signal/index.ts";
import type { BodyReservation } from "./bodyBudget.ts";

/**
 * The slowest that a body may come: 1,024 bytes in each 5 s that it takes, about 200 bytes
 * a second. A mobile line at its worst, GPRS at the edge of a cell, carries ten times as
 * much, and may stall for some seconds when it changes cells. What is shorter than that is
 * done in the first 5 s or is held up by its sender.
 */
const PROGRESS_INTERVAL_MS = 5_000;
const PROGRESS_MIN_BYTES = 1_024;

/** The outcome of {@link readBody}; `aborted`: the caller is gone, nobody waits for an answer. */
export type BodyReading =
  | { readonly kind: "read"; readonly bytes: Uint8Array }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "aborted" };

/** What bounds {@link readBody}. */
export interface BodyLimits {
  /** The `Content-Length` header, if there is one. */
  readonly contentLength: string | undefined;
  /** Of the body, framing included. Beyond it reading stops at once. */
  readonly maxBytes: number;
  /** How long the whole body may take. */
  readonly timeoutMs: number;
  readonly reservation: BodyReservation;
}

/** How long a caller should wait before it sends again what found no memory. */
const OVERLOADED_RETRY_AFTER_MS = 1_000;

/**
 * Reads to the end of the stream. Never rejects. When it is done, the stream keeps nothing of
 * the body alive: it lasts until its answer is read, which is up to the caller.
 */
export function readBody(stream: Readable, limits: BodyLimits): Promise<BodyReading> {
  const { contentLength, maxBytes, timeoutMs, reservation } = limits;
  if (Number(contentLength) > maxBytes) return Promise.resolve(tooLarge(maxBytes));
  return new Promise((resolve) => {
    const bytes = new GrowingBytes(maxBytes, reservation);
    const timer = setTimeout(() => finish(tooLate()), Math.max(0, timeoutMs));
    let bytesBefore = 0;
    const progressTimer = setInterval(() => {
      if (bytes.length - bytesBefore < PROGRESS_MIN_BYTES) finish(tooSlow());
      bytesBefore = bytes.length;
    }, PROGRESS_INTERVAL_MS);
    function finish(reading: BodyReading): void {
      clearTimeout(timer);
      clearInterval(progressTimer);
      stream.off("data", onData).off("end", onEnd).off("aborted", onClose).off("close", onClose);
      // The last, since a late error without a listener would end the process.
      stream.on("error", ignore).off("error", onClose);
      stream.pause();
      resolve(reading);
    }
    function onData(chunk: Buffer): void {
      reservation.progress(chunk.length);
      if (bytes.length + chunk.length > maxBytes) finish(tooLarge(maxBytes));
      else if (!bytes.append(chunk)) finish(overloaded());
    }
    function onEnd(): void {
      finish({ kind: "read", bytes: bytes.value() });
    }
    function onClose(): void {
      finish({ kind: "aborted" });
    }
    reservation.onEvicted(() => finish(overloaded()));
    // A stream of HTTP/2 that is reset half-way says "aborted", and then "end" as if the
    // body were whole.
    stream.on("data", onData).on("end", onEnd).on("aborted", onClose).on("close", onClose);
    stream.on("error", onClose);
    // A caller that left before the listeners were there emits nothing any more.
    if (stream.destroyed && !stream.readableEnded) onClose();
  });
}

/**
 * Bytes that come in pieces, copied together as they come: kept as a list, a body that
 * is sent byte by byte would take a hundred times its size. What they reserve is all the
 * memory that they keep alive, not their length alone.
 */
class GrowingBytes {
  readonly #maxBytes: number;
  readonly #reservation: BodyReservation;
  #reservedBytes = 0;
  #buffer: Uint8Array = new Uint8Array(0);
  length = 0;

  constructor(maxBytes: number, reservation: BodyReservation) {
    this.#maxBytes = maxBytes;
    this.#reservation = reservation;
  }

  /** @returns whether there was memory for it. */
  append(chunk: Uint8Array): boolean {
    const length = this.length + chunk.length;
    if (this.length === 0 && chunk.buffer.byteLength <= 2 * chunk.length) {
      // Most bodies come in one piece, which needs no copy. A small piece does: it would
      // keep alive the whole slab of 64 KiB that the socket was read into.
      if (!this.#reserve(chunk.buffer.byteLength)) return false;
      this.#buffer = chunk;
    } else {
      if (length > this.#buffer.length && !this.#grow(length)) return false;
      this.#buffer.set(chunk, this.length);
    }
    this.length = length;
    return true;
  }

  value(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  /** At least doubles, so that all copying together is linear. */
  #grow(length: number): boolean {
    const capacity = Math.min(this.#maxBytes, Math.max(length, 2 * this.#buffer.length));
    if (!this.#reserve(capacity)) return false;
    const grown = new Uint8Array(capacity);
    grown.set(this.value());
    this.#buffer = grown;
    return true;
  }

  /** Reserves so many bytes in all. */
  #reserve(bytes: number): boolean {
    const more = Math.max(0, bytes - this.#reservedBytes);
    if (!this.#reservation.take(more)) return false;
    this.#reservedBytes += more;
    return true;
  }
}

function ignore(): void {}

function tooLarge(maxBytes: number): BodyReading {
  const message = `The body is larger than the ${maxBytes} bytes that this endpoint takes.`;
  return { kind: "refused", refusal: refuse("BODY_TOO_LARGE", message) };
}

function tooSlow(): BodyReading {
  const why = `The body came too slowly: at least ${PROGRESS_MIN_BYTES} bytes are expected in every ${PROGRESS_INTERVAL_MS / 1_000} s. Send it again under the same idempotency key.`;
  return { kind: "refused", refusal: refuse("DEADLINE_EXCEEDED", `${why} ${NOT_STORED}`) };
}

function tooLate(): BodyReading {
  const why = "The body did not arrive in time. Send it again under the same idempotency key.";
  const message = `${why} ${NOT_STORED}`;
  return { kind: "refused", refusal: refuse("DEADLINE_EXCEEDED", message) };
}

function overloaded(): BodyReading {
  const message =
    "The server has too many requests under way. Send this one again under the same idempotency key.";
  const retryAfterMs = OVERLOADED_RETRY_AFTER_MS;
  return { kind: "refused", refusal: refuse("OVERLOADED", message, { retryAfterMs }) };
}
