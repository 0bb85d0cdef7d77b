import type { Instant } from "../signal/index.ts";

/** Where time comes from. One real clock is made at start; tests bring their own. */
export interface Clock {
  /** The wall clock. It may jump. */
  now(): Instant;
  /** Milliseconds since some fixed moment. It never jumps, so deadlines are kept by it. */
  monotonicMs(): number;
}
