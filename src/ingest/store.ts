/**
 * What the domain asks of a database. `store/` implements it on PostgreSQL.
 */
import type { Instant, Signal, SignalStatus } from "../signal/index.ts";

/** An authenticated, valid signal that is ready to be stored. */
export interface SignalCandidate {
  /** The id it gets if it is new, a UUIDv7. */
  readonly signalId: string;
  readonly producerId: string;
  /** The producer's own name for this signal; `undefined` if it gave none. */
  readonly idempotencyKey: string | undefined;
  /**
   * The 32 bytes of the request's signature if that signature does not cover the
   * idempotency key (there is none, or it came in a header): then the signature
   * itself is what tells a replay. `undefined` if the signed key already does.
   */
  readonly requestSignature: Uint8Array | undefined;
  /** Which item of its request it is, from 0. */
  readonly requestItem: number;
  /** SHA-256 of the signal's content, 32 bytes. */
  readonly contentSha256: Uint8Array;
  /** The status it gets if it is new. */
  readonly status: Extract<SignalStatus, "received" | "pending_approval">;
  /** When the server received it. */
  readonly receiveTime: Instant;
  readonly signal: Omit<Signal, "payload">;
  /**
   * The payload as JSON text, `undefined` if there is none: many signals may wait, and as
   * text each takes no more than it did in its request.
   */
  readonly payloadJson: string | undefined;
}

/**
 * What became of one candidate.
 * - `stored`: a new row, committed to disk.
 * - `duplicate`: the key (or the request) is known with this same content; the
 *   answer is that of the first time.
 * - `key_reused`: the key (or the request) is known with another content.
 * - `expired`: not known, and past its expire time at `receiveTime`; not stored.
 */
export type StoreOutcome =
  | {
      readonly kind: "stored" | "duplicate";
      readonly signalId: string;
      readonly status: SignalStatus;
      readonly receiveTime: Instant;
    }
  | { readonly kind: "key_reused" }
  | { readonly kind: "expired" };

/**
 * The database did not do the work: it cannot be reached, did not answer in time,
 * or failed. Whether the batch was stored is unknown, so the caller may only retry
 * under the same keys. `cause` is for the log, never for a client.
 */
export class StoreUnavailableError extends Error {
  override readonly name = "StoreUnavailableError";
}

/**
 * The database cannot take at least one signal of the batch as it is, so nothing of the
 * batch was stored. `cause` is for the log, never for a client.
 */
export class SignalRejectedError extends Error {
  override readonly name = "SignalRejectedError";
}

/** Stores signals exactly once. */
export interface SignalStore {
  /**
   * Stores the new signals among the candidates and answers for each, in order.
   * Resolves only after the commit is on disk. All or none of a batch is stored.
   * Two candidates of one batch may carry the same key: the first one wins.
   *
   * @param timeoutMs how long to wait for the database, above 0.
   * @throws SignalRejectedError
   * @throws StoreUnavailableError
   */
  ingest(candidates: readonly SignalCandidate[], timeoutMs: number): Promise<StoreOutcome[]>;
}
