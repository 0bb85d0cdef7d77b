import type { Clock, Timers } from "../ingest/index.ts";

const NANOS_PER_MILLISECOND = 1_000_000n;

/** The one place where the server reads the time. */
export const systemClock: Clock = {
  now: () => BigInt(Date.now()) * NANOS_PER_MILLISECOND,
  monotonicMs: () => performance.now(),
};

/** The timers of the process. */
export const systemTimers: Timers = {
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  soon: (callback) => void setImmediate(callback),
};
