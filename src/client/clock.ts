import type { Instant } from "../signal/index.ts";

/** Where the client takes the time from: for signatures, and for signals without one. */
export interface ClientClock {
  /** The wall clock. It may jump. */
  now(): Instant;
}

/** The clock of this machine, to the millisecond. The only place of the client that reads it. */
export const systemClock: ClientClock = {
  now: () => BigInt(Date.now()) * 1_000_000n,
};
