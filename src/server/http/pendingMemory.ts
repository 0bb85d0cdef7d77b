/**
 * How much memory requests may take together from the moment when their sender is known
 * until they are answered: while they are decoded, wait for the database, or are stored.
 */

import { type Refusal, refuse } from "../../signal/index.ts";
import type { BodyBudget } from "./bodyBudget.ts";

/** A number of bytes that requests share. */
export interface PendingMemory {
  /**
   * Takes so many bytes. Disposing what is returned gives them back.
   *
   * @returns `undefined` if they are not there to take.
   */
  take(bytes: number): Disposable | undefined;
}

/** What requests of one size share. */
export interface RequestMemory {
  /** For bodies until their senders are known. */
  readonly budget: BodyBudget;
  /** For what was decoded, until it is answered. */
  readonly pending: PendingMemory;
}

/** What a signal takes besides its bytes: the objects that it is decoded into, but the payload. */
export const SIGNAL_BYTES = 1024;

/** How long a caller should wait before it sends again what found no memory. */
const RETRY_AFTER_MS = 1_000;

/** Makes a memory. */
export function createPendingMemory(maxBytes: number): PendingMemory {
  let left = maxBytes;
  return {
    take(bytes) {
      if (bytes > left) return undefined;
      left -= bytes;
      return {
        [Symbol.dispose]() {
          left += bytes;
        },
      };
    },
  };
}

/** Why a request is refused for which there is no memory. */
export function outOfMemory(): Refusal {
  const message =
    "The server has too many signals under way. Send this request again under the same idempotency key.";
  return refuse("OVERLOADED", message, { retryAfterMs: RETRY_AFTER_MS });
}
