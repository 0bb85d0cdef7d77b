/**
 * The only place of the client that reads a clock of this machine.
 */
import type { Instant } from "../signal/index.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;

/** Where the client takes the time from: for signatures, and for signals without one. */
export interface ClientClock {
  /** The wall clock. It may jump. */
  now(): Instant;
}

/** The clock of this machine, to the millisecond. */
export const systemClock: ClientClock = {
  now: () => BigInt(Date.now()) * NANOS_PER_MILLISECOND,
};

/** What a clock shows, in whole milliseconds since 1970, as `Date` counts. */
export function epochMs(clock: ClientClock): number {
  return Number(clock.now() / NANOS_PER_MILLISECOND);
}

/**
 * Milliseconds since some moment in the past, for deadlines and durations: unlike the wall
 * clock, it never jumps.
 */
export function monotonicMs(): number {
  return performance.now();
}
