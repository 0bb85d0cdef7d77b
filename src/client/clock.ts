/**
 * The only place of the client that reads a clock of this machine.
 */
import { uptime } from "node:os";
import type { Instant } from "../signal/index.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;
const MS_PER_SECOND = 1_000;

/** Where the client takes the time from: for signatures, and for signals without one. */
export interface ClientClock {
  /** The wall clock. It may jump. */
  now(): Instant;
  /**
   * How much of what it shows is a correction, in milliseconds: above 0 for a machine whose own
   * clock is slow. Not given, or 0, if nothing is known to be wrong.
   */
  readonly correctionMs?: number | undefined;
  /**
   * Whether the server has accepted or corrected what it shows. Not given if nobody asks the
   * server.
   */
  readonly isConfirmed?: boolean | undefined;
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

/**
 * Milliseconds since the machine was started, its sleep included: for durations that go on while
 * it sleeps.
 */
export function uptimeMs(): number {
  return uptime() * MS_PER_SECOND;
}
