/**
 * The only place of the client that reads a clock of this machine.
 */
import type { Instant } from "../signal/index.ts";

/** Where the client takes the time from: for signatures, and for signals without one. */
export interface ClientClock {
  /** The wall clock. It may jump. */
  now(): Instant;
}

/** The clock of this machine, to the millisecond. */
export const systemClock: ClientClock = {
  now: () => BigInt(Date.now()) * 1_000_000n,
};

/**
 * Milliseconds since some moment in the past, for deadlines and durations: unlike the wall
 * clock, it never jumps.
 */
export function monotonicMs(): number {
  return performance.now();
}
