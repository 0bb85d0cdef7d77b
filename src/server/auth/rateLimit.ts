/**
 * Keeps producers to their limits: each has a bucket of tokens, one for a signal, which holds as
 * many as it may send a second and is refilled all the time.
 */
import { NOT_STORED, type Refusal, refuse } from "../../signal/index.ts";
import type { KnownProducer } from "./knownProducers.ts";
import { LeasedBucket, type LeasedBucketOptions } from "./leasedBucket.ts";

/** Who is limited, and how. */
export type LimitedProducer = Pick<KnownProducer, "producerId" | "rateLimitPerSecond">;

/** Lets producers pass, or refuses them. No method throws. */
export interface RateLimit {
  /**
   * Lets a request pass, before anything is known of what it holds: as one signal.
   *
   * @param isBatch whether it may hold more. If it may not pass, it is told to wait until there are
   *   tokens for as many signals as the producer's last batch had.
   * @returns why it may not pass now.
   */
  admit(producer: LimitedProducer, isBatch: boolean): Promise<Refusal | undefined>;

  /**
   * Lets the signals of a request pass that {@link admit} let pass as one: all of them, or, with
   * the first one given back, none.
   *
   * @param signals at least 1.
   * @returns why they may not pass now, or not together ever.
   */
  admitBatch(producer: LimitedProducer, signals: number): Promise<Refusal | undefined>;
}

/** A bucket that rests so long is as good as a new one: it is full, and its lease has lapsed. */
const IDLE_MS = 10_000;

/** The limits of one process. */
export interface ProcessRateLimit extends RateLimit {
  /** Of how many producers it has a bucket: those that sent something lately. */
  readonly bucketCount: number;
}

/** Makes the limits of this process, which are those of all that share the database. */
export function createRateLimit(options: LeasedBucketOptions): ProcessRateLimit {
  const buckets = new Map<string, LeasedBucket>();
  let nextSweepMs = Number.NEGATIVE_INFINITY;

  function bucketOf(producerId: string, perSecond: number): LeasedBucket {
    const known = buckets.get(producerId);
    if (known?.perSecond === perSecond) return known;
    sweep(options.monotonicMs());
    const bucket =
      known?.withLimit(perSecond) ?? new LeasedBucket(producerId, perSecond, perSecond, options);
    buckets.set(producerId, bucket);
    return bucket;
  }

  function sweep(nowMs: number): void {
    if (nowMs < nextSweepMs) return;
    nextSweepMs = nowMs + IDLE_MS;
    for (const { producerId, usedMs } of buckets.values()) {
      if (usedMs < nowMs - IDLE_MS) buckets.delete(producerId);
    }
  }

  return {
    get bucketCount() {
      return buckets.size;
    },

    async admit({ producerId, rateLimitPerSecond }, isBatch) {
      if (rateLimitPerSecond === undefined) return undefined;
      const bucket = bucketOf(producerId, rateLimitPerSecond);
      return take(bucket, 1, isBatch ? bucket.lastBatch : 1);
    },

    async admitBatch({ producerId, rateLimitPerSecond }, signals) {
      if (rateLimitPerSecond === undefined) return undefined;
      const bucket = bucketOf(producerId, rateLimitPerSecond);
      bucket.lastBatch = Math.min(signals, rateLimitPerSecond);
      if (signals === 1) return undefined;
      bucket.giveBack(1);
      if (signals > rateLimitPerSecond) return tooMany(signals, rateLimitPerSecond);
      return take(bucket, signals, signals);
    },
  };
}

async function take(
  bucket: LeasedBucket,
  signals: number,
  wanted: number,
): Promise<Refusal | undefined> {
  try {
    const retryAfterMs = await bucket.take(signals, wanted);
    return retryAfterMs === 0 ? undefined : rateLimited(bucket.perSecond, retryAfterMs);
  } catch {
    return unavailable();
  }
}

function rateLimited(limit: number, retryAfterMs: number): Refusal {
  const message = `This producer may send at most ${counted(limit)} a second.`;
  return refuse("RATE_LIMITED", message, { retryAfterMs });
}

/** No wait helps a batch that is bigger than the bucket. */
function tooMany(signals: number, limit: number): Refusal {
  const most = limit === 1 ? "1 request" : `${limit} requests`;
  const description = `must hold at most ${most}, since this producer may send ${counted(limit)} a second`;
  return refuse("INVALID_SIGNAL", `The batch ${description}, not ${signals}.`, {
    violations: [{ field: "requests", description }],
  });
}

function counted(signals: number): string {
  return signals === 1 ? "1 signal" : `${signals} signals`;
}

function unavailable(): Refusal {
  const why =
    "The database does not answer, so it is not known whether this producer may send now. Send it again under the same idempotency key.";
  return refuse("STORE_UNAVAILABLE", `${why} ${NOT_STORED}`);
}
