import type { Clock, SignalCandidate, SignalStore, StoreOutcome } from "../../src/ingest/index.ts";
import type { Instant } from "../../src/signal/index.ts";

/** A clock that stands still until it is told to move. */
export class ManualClock implements Clock {
  #now: Instant;
  #monotonicMs = 5_000;

  constructor(now: Instant) {
    this.#now = now;
  }

  now(): Instant {
    return this.#now;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  advanceMs(durationMs: number): void {
    this.#now += BigInt(Math.round(durationMs * 1_000_000));
    this.#monotonicMs += durationMs;
  }
}

/**
 * A store that keeps signals in memory by the rules of {@link SignalStore}: once by its
 * key, or else by its request's signature.
 */
export class MemoryStore implements SignalStore {
  /** The signals in the order in which they were stored. */
  readonly stored: SignalCandidate[] = [];
  /** What it was called with. */
  readonly calls: {
    readonly candidates: readonly SignalCandidate[];
    readonly timeoutMs: number;
  }[] = [];
  /** What happens at each call before anything is stored; it may throw. */
  beforeStoring: (timeoutMs: number) => void = () => {};

  async ingest(candidates: readonly SignalCandidate[], timeoutMs: number): Promise<StoreOutcome[]> {
    this.calls.push({ candidates, timeoutMs });
    this.beforeStoring(timeoutMs);
    return candidates.map((candidate) => this.#store(candidate));
  }

  #store(candidate: SignalCandidate): StoreOutcome {
    const known = this.stored.find((other) => isSame(candidate, other));
    if (known !== undefined) {
      const isSameContent = Buffer.compare(known.contentSha256, candidate.contentSha256) === 0;
      return isSameContent ? { kind: "duplicate", ...answerOf(known) } : { kind: "key_reused" };
    }
    const { expireTime } = candidate.signal;
    if (expireTime !== undefined && expireTime <= candidate.receiveTime) return { kind: "expired" };
    this.stored.push(candidate);
    return { kind: "stored", ...answerOf(candidate) };
  }
}

function isSame(one: SignalCandidate, other: SignalCandidate): boolean {
  if (one.producerId !== other.producerId) return false;
  if (one.idempotencyKey !== undefined && one.idempotencyKey === other.idempotencyKey) return true;
  return (
    one.requestSignature !== undefined &&
    other.requestSignature !== undefined &&
    Buffer.compare(one.requestSignature, other.requestSignature) === 0 &&
    one.requestItem === other.requestItem
  );
}

function answerOf({ signalId, status, receiveTime }: SignalCandidate) {
  return { signalId, status, receiveTime };
}
