import { describe, expect, test } from "vitest";
import { isReason, REASONS, type Reason, type Retry, recordOf } from "../../src/signal/index.ts";

/** The contract, written down a second time: clients outside this repository act on it. */
const RETRIES: Readonly<Record<Reason, Retry>> = {
  MALFORMED_BODY: "never",
  INVALID_SIGNAL: "never",
  UNAUTHENTICATED: "never",
  CLOCK_SKEW: "corrected_clock",
  PRODUCER_DISABLED: "never",
  INSTRUMENT_NOT_ALLOWED: "never",
  SCOPE_MISSING: "never",
  IDEMPOTENCY_KEY_REUSED: "never",
  SIGNAL_EXPIRED: "never",
  SIGNAL_NOT_PENDING: "never",
  CONTENT_MISMATCH: "never",
  BODY_TOO_LARGE: "never",
  PAYLOAD_TOO_LARGE: "never",
  RATE_LIMITED: "after_delay",
  OVERLOADED: "same_key",
  STORE_UNAVAILABLE: "same_key",
  DEADLINE_EXCEEDED: "same_key",
  INTERNAL: "same_key",
};

describe("the reasons of refusal", () => {
  test("are those of the contract, no more and no fewer", () => {
    expect(REASONS.toSorted()).toEqual(Object.keys(RETRIES).toSorted());
  });

  test.each(Object.entries(RETRIES))("%s may be retried: %s", (reason, retry) => {
    expect(isReason(reason)).toBe(true);
    expect(recordOf(reason as Reason).retry).toBe(retry);
  });

  test.each([
    "",
    "toString",
    "constructor",
    "hasOwnProperty",
    "__proto__",
    "invalid_signal",
    "INVALID_SIGNAL ",
    "INVALID_SIGNALS",
    "never",
  ])("%j is none", (text) => {
    expect(isReason(text)).toBe(false);
  });
});
