/**
 * The main job: submitted signals are judged, stored exactly once, and answered one by
 * one. What is answered as stored is on disk.
 */
import { type Instant, type Refusal, refuse, type SignalStatus } from "../signal/index.ts";
import { type AcceptOptions, accept, type Origin, type Submitted } from "./accept.ts";
import type { Batcher } from "./batcher.ts";
import type { BatchOutcome } from "./callQueue.ts";
import type { Producer } from "./producer.ts";
import type { SignalCandidate } from "./store.ts";

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
  readonly batcher: Pick<Batcher, "store">;
  /** Told of each result, for metrics. Must not throw. */
  readonly onResult?: (producer: Producer, result: IngestResult) => void;
}

/**
 * Takes the signals of one authenticated request.
 *
 * @param submissions one after the other, so that an edge that decodes them on the way never
 *   holds all of them as objects.
 * @param deadlineMs by the monotonic clock, when the caller stops waiting.
 * @returns one result for each submission, in order; or one alone, a refusal of the whole
 *   request, if one of them is a refusal for which nothing may be stored. A bad signal and an
 *   unavailable store are refusals, not errors.
 */
export type Ingest = (
  submissions: Iterable<Submitted> | AsyncIterable<Submitted>,
  origin: Origin,
  deadlineMs: number,
) => Promise<IngestResult[]>;

/** Puts the main job together. */
export function createIngest(dependencies: IngestDependencies): Ingest {
  return async function ingest(submissions, origin, deadlineMs) {
    const results = new Map<number, IngestResult>();
    const candidates: SignalCandidate[] = [];
    let item = -1;
    for await (const submitted of submissions) {
      item += 1;
      if (!submitted.ok) {
        const refusal = refused(submitted.refusal, origin);
        if (isOfWholeRequest(submitted.refusal)) return [refusal];
        results.set(item, refusal);
        continue;
      }
      const submission = submitted.value;
      const acceptance = accept(submission, item, origin, dependencies);
      if (!acceptance.ok) results.set(item, refused(acceptance.refusal, origin));
      else if (submission.validateOnly) results.set(item, validated(acceptance.value));
      else candidates.push(acceptance.value);
    }
    if (candidates.length > 0) {
      const outcomes = await dependencies.batcher.store(candidates, deadlineMs);
      for (const [index, candidate] of candidates.entries()) {
        results.set(candidate.requestItem, resultOf(outcomes[index] as BatchOutcome, origin));
      }
    }
    return Array.from({ length: item + 1 }, (_, index) => {
      const result = results.get(index) as IngestResult;
      dependencies.onResult?.(origin.producer, result);
      return result;
    });
  };
}

/** Of a request that is not understood, or not in time, nobody knows what it says. */
function isOfWholeRequest({ reason }: Refusal): boolean {
  return reason === "MALFORMED_BODY" || reason === "DEADLINE_EXCEEDED";
}

function resultOf(outcome: BatchOutcome, origin: Origin): IngestResult {
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
    case "refused":
      return refused(outcome.refusal, origin);
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
  return refuse("SIGNAL_EXPIRED", "The signal arrived after its expire_time.", {
    violations: [{ field: "signal.expire_time", description: "is in the past" }],
  });
}

/** What a caller is told, for people, of a signal that was taken. */
export function resultMessage(result: Exclude<IngestResult, { kind: "refused" }>): string {
  if (result.kind === "valid") return "The signal is valid. Nothing was stored.";
  return result.duplicate
    ? "The signal was stored before; this is the first result."
    : "The signal is stored.";
}
