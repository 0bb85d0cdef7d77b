import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";

/**
 * Counts one request of a producer against its limit.
 *
 * @param perSecond requests a second; `undefined` sets no limit.
 * @returns `undefined` if the request may go on, else how long to wait, in milliseconds.
 */
export type RateLimit = (
  producerId: string,
  perSecond: number | undefined,
) => Promise<number | undefined>;

/**
 * Limits within this process, in fixed windows of a second. Several processes on one
 * database each allow the limit.
 */
export function createRateLimit(): RateLimit {
  const limiters = new Map<number, RateLimiterMemory>();
  return async function rateLimit(producerId, perSecond) {
    if (perSecond === undefined) return undefined;
    let limiter = limiters.get(perSecond);
    if (limiter === undefined) {
      limiter = new RateLimiterMemory({ points: perSecond, duration: 1 });
      limiters.set(perSecond, limiter);
    }
    try {
      await limiter.consume(producerId);
      return undefined;
    } catch (rejection) {
      // The library rejects with a result object when the limit is reached.
      if (rejection instanceof RateLimiterRes) return Math.max(1, rejection.msBeforeNext);
      throw rejection;
    }
  };
}
