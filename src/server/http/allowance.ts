/**
 * How many requests, how many of them broken off, and how many false proofs callers may bring
 * who have proven nothing. Opening a stream of HTTP/2 and resetting it at once costs the caller nothing,
 * goes around the limit of concurrent streams, and costs the server as much as an answer
 * ("rapid reset", CVE-2023-44487). Node's own limit, of nghttp2, counts only resets, only
 * within a connection, and still serves the frames that were read together with the last
 * one allowed.
 *
 * There are two allowances, both of tokens that come back with time:
 *
 * 1. A connection has its own. Whoever uses it up loses the connection.
 * 2. All connections of an address share one. Once it is used up, each has only a few
 *    requests and resets, enough for an honest caller to prove itself: whoever sends a
 *    flood over ever new connections gets little from each.
 *
 * A proof gives back what its connection took, and while it holds nothing is counted there, but
 * for proofs that fail: those an address may bring so often, on whatever connection.
 */

/** Tokens that can be taken at once, and that come back each second. */
interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** Five times the streams that may be open at once; and probes ask a few times a second. */
const CONNECTION_REQUESTS: Rate = { burst: 500, perSecond: 100 };
/** All streams that may be open at once can be cancelled, and then ten calls a second. */
const CONNECTION_RESETS: Rate = { burst: 100, perSecond: 10 };
/** What a few connections may ask at once. One core answers many times as much a second. */
const ADDRESS_REQUESTS: Rate = { burst: 2_000, perSecond: 200 };
const ADDRESS_RESETS: Rate = { burst: 1_000, perSecond: 50 };
/**
 * Proofs that fail. A bot with a wrong secret tries once a minute, so that of sixty such bots
 * behind one address each is still told what is wrong.
 */
const ADDRESS_FAILURES: Rate = { burst: 20, perSecond: 1 };
/** A client may open all its streams before the first is proven: 100, and some to ask for health. */
const FEW_REQUESTS = 128;
const FEW_RESETS = 8;
/** Addresses that are remembered: some hundred bytes each. Beyond it, the one seen longest ago goes. */
const ADDRESSES_MAX = 4_096;

/** What one connection may do. */
export interface Allowance {
  /** Whether its address has used up nine tenths of what it shares. */
  isScarce(): boolean;
  /** Counts a request. @returns whether it was allowed; if not, the connection is to end. */
  takeRequest(): boolean;
  /** Counts a stream that did not come to an answer. @returns as for a request. */
  takeReset(): boolean;
  /**
   * Counts a proof that failed.
   *
   * @returns how long it is until the address may fail again, in milliseconds, if this was one
   *   too many.
   */
  takeFailure(): number | undefined;
  /** Gives back what was taken, for somebody who has proven who they are. */
  giveBack(): void;
}

/**
 * Gives an allowance to each new connection of an address.
 *
 * @param isProven whether nothing is to be counted now.
 */
export type Allowances = (address: string, isProven: () => boolean) => Allowance;

/** Makes the allowances of a process. */
export function createAllowances(monotonicMs: () => number): Allowances {
  const addresses = new Map<string, Shared>();
  function bucketsOf(address: string) {
    const known = addresses.get(address);
    const buckets = known ?? {
      requests: new TokenBucket(ADDRESS_REQUESTS, monotonicMs),
      resets: new TokenBucket(ADDRESS_RESETS, monotonicMs),
      failures: new TokenBucket(ADDRESS_FAILURES, monotonicMs),
    };
    addresses.delete(address);
    addresses.set(address, buckets);
    if (addresses.size > ADDRESSES_MAX) {
      for (const oldest of addresses.keys()) {
        addresses.delete(oldest);
        break;
      }
    }
    return buckets;
  }
  return function allowanceOf(address, isProven) {
    const shared = bucketsOf(address);
    const requests = new Account(
      new TokenBucket(CONNECTION_REQUESTS, monotonicMs),
      shared.requests,
      FEW_REQUESTS,
    );
    const resets = new Account(
      new TokenBucket(CONNECTION_RESETS, monotonicMs),
      shared.resets,
      FEW_RESETS,
    );
    return {
      isScarce: () => shared.requests.isScarce() || shared.resets.isScarce(),
      takeRequest: () => isProven() || requests.take(),
      takeReset: () => isProven() || resets.take(),
      takeFailure: () => (shared.failures.take() ? undefined : shared.failures.msUntilNext()),
      giveBack() {
        requests.giveBack();
        resets.giveBack();
      },
    };
  };
}

/** What all connections of an address share. */
interface Shared {
  readonly requests: TokenBucket;
  readonly resets: TokenBucket;
  readonly failures: TokenBucket;
}

/** One connection's use of its own tokens and of its address's. */
class Account {
  readonly #own: TokenBucket;
  readonly #shared: TokenBucket;
  readonly #few: number;
  #used = 0;
  #takenOfShared = 0;

  constructor(own: TokenBucket, shared: TokenBucket, few: number) {
    this.#own = own;
    this.#shared = shared;
    this.#few = few;
  }

  take(): boolean {
    if (!this.#own.take()) return false;
    this.#used += 1;
    if (!this.#shared.take()) return this.#used <= this.#few;
    this.#takenOfShared += 1;
    return true;
  }

  giveBack(): void {
    this.#shared.giveBack(this.#takenOfShared);
    this.#used = 0;
    this.#takenOfShared = 0;
  }
}

class TokenBucket {
  readonly #rate: Rate;
  readonly #monotonicMs: () => number;
  #tokens: number;
  #filledMs: number;

  constructor(rate: Rate, monotonicMs: () => number) {
    this.#rate = rate;
    this.#monotonicMs = monotonicMs;
    this.#tokens = rate.burst;
    this.#filledMs = monotonicMs();
  }

  isScarce(): boolean {
    this.#refill();
    return this.#tokens < this.#rate.burst / 10;
  }

  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long it is until there is a whole token. */
  msUntilNext(): number {
    this.#refill();
    return Math.ceil(((1 - Math.min(this.#tokens, 1)) / this.#rate.perSecond) * 1_000);
  }

  #refill(): void {
    const nowMs = this.#monotonicMs();
    this.giveBack(((nowMs - this.#filledMs) / 1_000) * this.#rate.perSecond);
    this.#filledMs = nowMs;
  }

  giveBack(tokens: number): void {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + tokens);
  }
}
