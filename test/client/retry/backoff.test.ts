import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { exponentialDelayMs } from "../../../src/alerts/index.ts";
import {
  type BackoffOptions,
  createBackoff,
  SignalError,
  type SignalErrorReason,
} from "../../../src/client/index.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function failed(reason: SignalErrorReason, retryAfterMs?: number): SignalError {
  return new SignalError(reason, "No.", { retryAfterMs });
}

/** The waits after the same failure, until there are no more. */
function waits(error: unknown, options: BackoffOptions = {}): number[] {
  const backoff = createBackoff({ jitter: 0, ...options });
  const all: number[] = [];
  for (let wait = backoff.next(error); wait !== undefined; wait = backoff.next(error)) {
    all.push(wait);
    vi.advanceTimersByTime(wait);
  }
  return all;
}

const SCHEDULE = [5_000, 10_000, 20_000, 40_000, 80_000];

/** By the error table, and by the client's own reasons; the compiler misses none. */
const WAITS_BY_REASON: Readonly<Record<SignalErrorReason, readonly number[]>> = {
  UNREACHABLE: [0, ...SCHEDULE],
  INVALID_RESPONSE: SCHEDULE,
  RATE_LIMITED: SCHEDULE,
  OVERLOADED: SCHEDULE,
  STORE_UNAVAILABLE: SCHEDULE,
  DEADLINE_EXCEEDED: SCHEDULE,
  INTERNAL: SCHEDULE,
  MALFORMED_BODY: [],
  INVALID_SIGNAL: [],
  UNAUTHENTICATED: [],
  CLOCK_SKEW: [],
  PRODUCER_DISABLED: [],
  INSTRUMENT_NOT_ALLOWED: [],
  SCOPE_MISSING: [],
  INVALID_REQUEST: [],
  NOT_FOUND: [],
  ALREADY_EXISTS: [],
  ROTATION_UNDER_WAY: [],
  IDEMPOTENCY_KEY_REUSED: [],
  SIGNAL_EXPIRED: [],
  SIGNAL_NOT_PENDING: [],
  CONTENT_MISMATCH: [],
  BODY_TOO_LARGE: [],
  PAYLOAD_TOO_LARGE: [],
  CIRCUIT_OPEN: SCHEDULE,
  CANCELLED: [],
  REFUSED: [],
  UNKNOWN: [],
};

describe("the schedule", () => {
  it.each(Object.entries(WAITS_BY_REASON))("after %s is %j", (reason, expected) => {
    expect(waits(failed(reason as SignalErrorReason))).toEqual(expected);
  });

  it("goes on after one immediate retry with the first wait, whatever fails", () => {
    const backoff = createBackoff({ jitter: 0 });
    const failures = ["STORE_UNAVAILABLE", "UNREACHABLE", "UNREACHABLE", "OVERLOADED"] as const;
    expect(failures.map((reason) => backoff.next(failed(reason)))).toEqual([
      5_000, 0, 10_000, 20_000,
    ]);
  });

  it("has no immediate retry if that is not wanted, or if a delay is named", () => {
    expect(waits(failed("UNREACHABLE"), { immediateRetry: false })).toEqual(SCHEDULE);
    expect(createBackoff({ jitter: 0 }).next(failed("UNREACHABLE", 1_000))).toBe(5_000);
  });

  it("follows its options", () => {
    const options = { retriesMax: 4, baseDelayMs: 100, factor: 3, delayMaxMs: 1_000 };
    expect(waits(failed("INTERNAL"), options)).toEqual([100, 300, 900, 1_000]);
    expect(waits(failed("UNREACHABLE"), { retriesMax: 0 })).toEqual([0]);
  });

  it("waits at least as long as the server said, however long, and never shorter by chance", () => {
    expect(waits(failed("RATE_LIMITED", 12_000))).toEqual([12_000, 12_000, 20_000, 40_000, 80_000]);
    expect(waits(failed("RATE_LIMITED", 100_000), { retriesMax: 1 })).toEqual([100_000]);
    const chance = { jitter: 0.5, random: () => 0.999 };
    expect(createBackoff(chance).next(failed("OVERLOADED", 60_000))).toBe(89_970);
  });

  it("waits five minutes at most for others, and an hour for the own circuit", () => {
    const endless = { budgetMs: Number.POSITIVE_INFINITY, jitter: 0.5, random: () => 0.999 };
    const waitMs = (reason: SignalErrorReason) =>
      createBackoff(endless).next(failed(reason, 999_999_999_000));
    for (const reason of ["RATE_LIMITED", "UNREACHABLE"] as const) {
      expect(waitMs(reason)).toBe(300_000);
    }
    expect(waitMs("CIRCUIT_OPEN")).toBe(3_600_000);
  });

  it("gives up at once if the server named a time past the budget", () => {
    const backoff = createBackoff({ jitter: 0, budgetMs: 30_000 });
    expect(backoff.next(failed("OVERLOADED", 30_000))).toBeUndefined();
    expect(createBackoff({ jitter: 0, budgetMs: 30_001 }).next(failed("OVERLOADED", 30_000))).toBe(
      30_000,
    );
  });

  it("counts what attempts took against the budget", () => {
    const backoff = createBackoff({ jitter: 0, budgetMs: 20_000 });
    expect(backoff.next(failed("INTERNAL"))).toBe(5_000);
    vi.advanceTimersByTime(9_999);
    expect(backoff.remainingMs()).toBe(10_001);
    expect(backoff.next(failed("INTERNAL"))).toBe(10_000);
    vi.advanceTimersByTime(15_000);
    expect(backoff.next(failed("INTERNAL"))).toBeUndefined();
  });

  it("waits for an open circuit without using up a retry", () => {
    const backoff = createBackoff({ jitter: 0, retriesMax: 1 });
    for (let n = 0; n < 10; n++) expect(backoff.next(failed("CIRCUIT_OPEN", 700))).toBe(700);
    expect(backoff.next(failed("INTERNAL"))).toBe(5_000);
    expect(backoff.next(failed("INTERNAL"))).toBeUndefined();
  });

  it("may have no end, for somebody who ends it by himself", () => {
    const endless = { retriesMax: Number.POSITIVE_INFINITY, budgetMs: Number.POSITIVE_INFINITY };
    const backoff = createBackoff({ jitter: 0, ...endless });
    const all = Array.from({ length: 2_000 }, () => backoff.next(failed("INTERNAL")));
    expect(all.slice(0, 6)).toEqual([...SCHEDULE, 80_000]);
    expect(all.at(-1)).toBe(80_000);
  });

  it("judges other errors as its options say", () => {
    const options = {
      isRetryable: (thrown: unknown) => thrown === "again",
      retryAfterMs: () => 7_000,
    };
    expect(createBackoff({ jitter: 0, ...options }).next("again")).toBe(7_000);
    expect(createBackoff({ jitter: 0, ...options }).next("never")).toBeUndefined();
    expect(createBackoff().next(new Error("a bug"))).toBeUndefined();
    const socket = Object.assign(new Error("reset"), { code: "ECONNRESET" });
    expect(createBackoff().next(socket)).toBe(0);
  });
});

it("keeps every wait within its bounds, whatever chance does", () => {
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const options = fc.record({
    baseDelayMs: fc.integer({ min: 1, max: 3_600_000 }),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    delayMaxMs: fc.integer({ min: 1, max: 3_600_000 }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const unbounded = { immediateRetry: true, retriesMax: 1, budgetMs: 1 };
  fc.assert(
    fc.property(options, fc.nat({ max: 5_000 }), chance, (some, retry, random) => {
      const whole = exponentialDelayMs(retry, { ...unbounded, ...some, jitter: 0 }, 0);
      const wait = exponentialDelayMs(retry, { ...unbounded, ...some }, random);
      const exact = Math.min(some.baseDelayMs * some.factor ** retry, some.delayMaxMs);
      expect(Math.abs(whole - exact)).toBeLessThanOrEqual(0.5);
      expect(wait).toBeLessThanOrEqual(whole);
      expect(wait).toBeGreaterThanOrEqual(Math.floor(exact * (1 - some.jitter)));
    }),
  );
  fc.assert(
    fc.property(fc.nat({ max: 200_000 }), options, chance, (named, some, random) => {
      const endless = { retriesMax: Number.POSITIVE_INFINITY, budgetMs: Number.POSITIVE_INFINITY };
      const backoff = createBackoff({ ...some, ...endless, random: () => random });
      for (let n = 0; n < 5; n++) {
        expect(backoff.next(failed("RATE_LIMITED", named))).toBeGreaterThanOrEqual(named);
      }
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400_000 }), options, (budgetMs, some) => {
      const backoff = createBackoff({ ...some, retriesMax: 50, budgetMs });
      let waited = 0;
      for (let n = 0; n < 60; n++) {
        const wait = backoff.next(failed("INTERNAL"));
        if (wait === undefined) return;
        waited += wait;
        vi.advanceTimersByTime(wait);
        expect(waited).toBeLessThan(budgetMs);
      }
      expect.unreachable();
    }),
  );
});
