/**
 * What producers with a rate limit may still send, in PostgreSQL: the function
 * `lease_rate_tokens` in the migrations decides; here is only the call of it.
 */
import type { Database } from "./database.ts";

/** What is asked of the bucket of a producer. */
export interface TokenRequest {
  readonly producerId: string;
  /** By how much the bucket is refilled each second, and how much it holds at most. */
  readonly perSecond: number;
  /** With fewer tokens nothing can be done. A whole number, at least 1. */
  readonly least: number;
  /** A whole number, at least {@link least}. */
  readonly most: number;
}

/** What became of a {@link TokenRequest}. */
export interface TokenGrant {
  /** A whole number from the least to the most that was asked for, or 0. */
  readonly granted: number;
  /** What is in the bucket then. It may have a fraction. */
  readonly remaining: number;
}

export interface RateLimitStore {
  /**
   * Takes tokens out of the bucket of a producer, which all processes draw from. Waits for no
   * disk: a crash of the database fills all buckets.
   *
   * @throws StoreUnavailableError
   */
  leaseTokens(request: TokenRequest, timeoutMs: number): Promise<TokenGrant>;
}

/** Makes the store on a database whose migrations are all applied. */
export function createRateLimitStore(database: Database): RateLimitStore {
  return {
    async leaseTokens({ producerId, perSecond, least, most }, timeoutMs) {
      const [grant] = await database.query<TokenGrant>(
        timeoutMs,
        (sql) => sql`
          SELECT granted, remaining
          FROM lease_rate_tokens(${producerId}, ${perSecond}, ${least}, ${most})
        `,
      );
      return grant as TokenGrant;
    },
  };
}
