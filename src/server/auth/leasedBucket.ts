/**
 * What one producer may send through this process: its tokens, one for each signal.
 *
 * The truth is a bucket in the database that all processes draw from. This process *leases* a few
 * of its tokens at a time and spends them by itself: what it is asked for now, and as many as the
 * producer's pace needs for a moment. So a steady sender costs the database about ten statements a
 * second at most, and gets what the truth holds, whichever process it asks.
 *
 * A bucket of this process holds what the truth can hold at most: as much as the last lease left,
 * and what came in since. A flood that finds it empty is refused without asking.
 */
import { TokenBucket } from "limiter";
import type { RateLimitStore } from "../../store/index.ts";

/** What a bucket is made of. */
export interface LeasedBucketOptions {
  readonly store: RateLimitStore;
  readonly monotonicMs: () => number;
  /** A number from 0 up to, but not, 1. */
  readonly random: () => number;
  /** Told of each lease that failed. */
  readonly onFailure: (error: unknown) => void;
}

/** How long the truth is left alone after it was found empty, on average. */
const PAUSE_MS = 100;
/** For how long a lease is meant to last: so long that one takes all that came in in any pause. */
const LEASE_MS = 150;
/** After how long what was leased and not spent is lost, so that nobody hoards it for a burst. */
const LAPSE_MS = 1_000;
/** How long a lease may take: after a stall of so long, connections are replaced. */
const TIMEOUT_MS = 2_000;

export class LeasedBucket {
  readonly producerId: string;
  /** By how much the bucket is refilled each second, and how much it holds at most. */
  readonly perSecond: number;
  /** How many signals the last batch had; as long as there was none, as many as one may have. */
  lastBatch: number;
  readonly #options: LeasedBucketOptions;
  /** What the truth holds at most. */
  readonly #truth: TokenBucket;
  #usedMs: number;
  #leased = 0;
  #lapseMs = Number.NEGATIVE_INFINITY;
  /** The lease that is under way. */
  #leasing: Promise<void> | undefined;
  #lastLeaseMs = Number.NEGATIVE_INFINITY;
  #nextLeaseMs = Number.NEGATIVE_INFINITY;
  /** Why the last lease failed, if it did. */
  #failure: unknown;
  /** What was spent since the last lease. */
  #spent = 0;

  /** @param tokens what the truth holds at most. */
  constructor(producerId: string, perSecond: number, tokens: number, options: LeasedBucketOptions) {
    this.producerId = producerId;
    this.perSecond = perSecond;
    this.lastBatch = perSecond;
    this.#options = options;
    this.#usedMs = options.monotonicMs();
    const size = { bucketSize: perSecond, tokensPerInterval: perSecond };
    this.#truth = new TokenBucket({ ...size, interval: "second" });
    this.#truth.content = tokens;
  }

  /** When it was last asked for tokens, by the monotonic clock. */
  get usedMs(): number {
    return this.#usedMs;
  }

  /** The same producer's under another limit, which gives no new burst: what fits stays. */
  withLimit(perSecond: number): LeasedBucket {
    this.#truth.drip();
    const tokens = Math.min(this.#truth.content, perSecond);
    return new LeasedBucket(this.producerId, perSecond, tokens, this.#options);
  }

  /**
   * Takes tokens, all or none.
   *
   * @param count at most {@link perSecond}.
   * @param wanted how many the caller will want when it comes again, at most {@link perSecond}.
   * @returns 0 if they were taken, else in how many milliseconds those that are wanted will be
   *   there, if nobody else takes them.
   * @throws StoreUnavailableError if the database had to be asked and did not answer.
   */
  async take(count: number, wanted: number): Promise<number> {
    this.#usedMs = this.#options.monotonicMs();
    for (;;) {
      if (this.#spend(count)) return 0;
      if (this.#waitMs(count) > 0) return this.#waitMs(wanted);
      if (this.#leasing === undefined) return this.#leaseAndSpend(count, wanted);
      // Whoever comes meanwhile waits for the same answer, and then takes a turn.
      await this.#leasing;
    }
  }

  /** Gives back what was taken and is not needed. */
  giveBack(count: number): void {
    this.#leased += count;
  }

  /** Spends what is leased. @returns whether it was enough; else nothing was spent. */
  #spend(count: number): boolean {
    if (this.#options.monotonicMs() >= this.#lapseMs) this.#leased = 0;
    if (this.#leased < count) return false;
    this.#leased -= count;
    this.#spent += count;
    return true;
  }

  /** How long to wait before it is of use to ask the truth. Not above 0 if it is now. */
  #waitMs(count: number): number {
    const pauseMs = Math.ceil(this.#nextLeaseMs - this.#options.monotonicMs());
    if (pauseMs > 0 && this.#failure !== undefined) throw this.#failure;
    return Math.max(pauseMs, this.#truth.getWaitTime(count - this.#leased));
  }

  async #leaseAndSpend(count: number, wanted: number): Promise<number> {
    this.#leasing = this.#lease(count);
    try {
      await this.#leasing;
    } finally {
      this.#leasing = undefined;
    }
    return this.#spend(count) ? 0 : Math.max(1, this.#waitMs(wanted));
  }

  /** Leases so many tokens, and some more for those that come next. */
  async #lease(count: number): Promise<void> {
    const { store, monotonicMs, random, onFailure } = this.#options;
    const { producerId, perSecond } = this;
    const startMs = monotonicMs();
    const spentPerMs = this.#spent / Math.max(1, startMs - this.#lastLeaseMs);
    const ahead = Math.floor(Math.min(spentPerMs, perSecond / 1_000) * LEASE_MS);
    this.#lastLeaseMs = startMs;
    this.#spent = 0;
    // Set aside, so that nobody spends it before the rest is here.
    const kept = this.#leased;
    this.#leased = 0;
    const least = count - kept;
    const most = Math.max(count, ahead) - kept;
    try {
      const request = { producerId, perSecond, least, most };
      const { granted, remaining } = await store.leaseTokens(request, TIMEOUT_MS);
      const nowMs = monotonicMs();
      this.#failure = undefined;
      this.#truth.drip();
      this.#truth.content = remaining;
      this.#leased += granted;
      if (granted > 0) this.#lapseMs = nowMs + LAPSE_MS;
      // By chance, since of processes that ask in step always the same one would win.
      if (granted === 0) this.#nextLeaseMs = nowMs + PAUSE_MS * random();
      else if (remaining < 1) this.#nextLeaseMs = nowMs + PAUSE_MS * (0.75 + random() / 2);
    } catch (error) {
      this.#failure = error;
      this.#nextLeaseMs = monotonicMs() + PAUSE_MS;
      onFailure(error);
      throw error;
    } finally {
      this.#leased += kept;
    }
  }
}
