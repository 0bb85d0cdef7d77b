/**
 * The main job: submitted signals are judged, stored exactly once, and answered one by
 * one. What is answered as stored is on disk.
 */
import type { Instant, SignalStatus } from "../signal/index.ts";
import { type AcceptOptions, accept, type Origin, type Submission } from "./accept.ts";
import type { Clock } from "./clock.ts";
import { type Refusal, refuse } from "./refusal.ts";
import {
  type SignalCandidate,
  type SignalStore,
  type StoreOutcome,
  StoreUnavailableError,
} from "./store.ts";

/**
 * What became of one submission.
 * - `stored`: on disk, now (`duplicate` false) or since an earlier request (true).
 * - `valid`: it would have been stored, but only validation was asked for.
 * - `refused`: not stored; the refusal says why.
 */
export type IngestResult =
  | {
      readonly kind: "stored";
      readonly signalId: string;
      readonly status: SignalStatus;
      readonly receiveTime: Instant;
      readonly duplicate: boolean;
    }
  | { readonly kind: "valid"; readonly status: SignalStatus; readonly receiveTime: Instant }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly receiveTime: Instant };

/** What {@link createIngest} is made of. */
export interface IngestDependencies extends AcceptOptions {
  readonly store: SignalStore;
  readonly clock: Clock;
  /** The longest that a call waits for the store, in milliseconds. */
  readonly storeTimeoutMs: number;
  /** Told of each failure of the store, for the log. */
  readonly onStoreFailure: (error: StoreUnavailableError) => void;
}

/**
 * Takes the signals of one authenticated request.
 *
 * @param deadlineMs by the monotonic clock, when the caller stops waiting.
 * @returns one result for each submission, in order. A bad signal and an unavailable
 *   store are refusals, not errors.
 */
export type Ingest = (
  submissions: readonly Submission[],
  origin: Origin,
  deadlineMs: number,
) => Promise<IngestResult[]>;

/** Puts the main job together. */
export function createIngest(dependencies: IngestDependencies): Ingest {
  return async function ingest(submissions, origin, deadlineMs) {
    const results = new Map<number, IngestResult>();
    const candidates: SignalCandidate[] = [];
    for (const [item, submission] of submissions.entries()) {
      const acceptance = accept(submission, item, origin, dependencies);
      if (!acceptance.accepted) results.set(item, refused(acceptance.refusal, origin));
      else if (submission.validateOnly) results.set(item, validated(acceptance.candidate));
      else candidates.push(acceptance.candidate);
    }
    if (candidates.length > 0) {
      const stored = await store(candidates, origin, deadlineMs, dependencies);
      for (const [index, candidate] of candidates.entries()) {
        results.set(candidate.requestItem, stored[index] as IngestResult);
      }
    }
    return submissions.map((_, item) => results.get(item) as IngestResult);
  };
}

async function store(
  candidates: readonly SignalCandidate[],
  origin: Origin,
  deadlineMs: number,
  { store, clock, storeTimeoutMs, onStoreFailure }: IngestDependencies,
): Promise<IngestResult[]> {
  const remainingMs = deadlineMs - clock.monotonicMs();
  if (remainingMs <= 0) return candidates.map(() => refused(deadlineExceeded(), origin));
  try {
    const outcomes = await store.ingest(candidates, Math.min(remainingMs, storeTimeoutMs));
    if (outcomes.length !== candidates.length) {
      throw new Error(`the store answered ${outcomes.length} of ${candidates.length} signals`);
    }
    return outcomes.map((outcome) => resultOf(outcome, origin));
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    onStoreFailure(error);
    const isCallerOutOfTime = clock.monotonicMs() >= deadlineMs;
    const refusal = isCallerOutOfTime ? deadlineExceeded() : storeUnavailable();
    return candidates.map(() => refused(refusal, origin));
  }
}

function resultOf(outcome: StoreOutcome, origin: Origin): IngestResult {
  switch (outcome.kind) {
    case "stored":
    case "duplicate":
      return {
        kind: "stored",
        signalId: outcome.signalId,
        status: outcome.status,
        receiveTime: outcome.receiveTime,
        duplicate: outcome.kind === "duplicate",
      };
    case "key_reused":
      return refused(
        refuse(
          "IDEMPOTENCY_KEY_REUSED",
          "This idempotency key was used before for a signal with another content. A new signal needs a key of its own; a retry must repeat the signal as it was, signal_time included.",
        ),
        origin,
      );
    case "expired":
      return refused(signalExpired(), origin);
  }
}

function validated(candidate: SignalCandidate): IngestResult {
  const { signal, receiveTime, status } = candidate;
  if (signal.expireTime !== undefined && signal.expireTime <= receiveTime) {
    return { kind: "refused", refusal: signalExpired(), receiveTime };
  }
  return { kind: "valid", status, receiveTime };
}

function refused(refusal: Refusal, origin: Origin): IngestResult {
  return { kind: "refused", refusal, receiveTime: origin.receiveTime };
}

function signalExpired(): Refusal {
  return refuse("SIGNAL_EXPIRED", "The signal arrived after its expire_time and was not stored.", {
    violations: [{ field: "signal.expire_time", description: "is in the past" }],
  });
}

function deadlineExceeded(): Refusal {
  return refuse(
    "DEADLINE_EXCEEDED",
    "The request's deadline passed before the signal was known to be stored. Send it again under the same idempotency key.",
  );
}

function storeUnavailable(): Refusal {
  return refuse(
    "STORE_UNAVAILABLE",
    "The database does not answer. Send the signal again under the same idempotency key.",
    { retryAfterMs: STORE_RETRY_AFTER_MS },
  );
}

/** Long enough for a connection pool to be replaced, short enough for a trading signal. */
const STORE_RETRY_AFTER_MS = 1_000;
