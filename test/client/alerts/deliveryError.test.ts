import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeDeliveryError } from "../../../src/client/alerts/deliveryError.ts";
import { SignalError } from "../../../src/client/index.ts";
import { REASONS } from "../../../src/signal/index.ts";
import { signalInput } from "../support/signals.ts";

describe("the text about a signal that was not delivered", () => {
  it("tells which, why, and what to do", () => {
    const error = new SignalError("INVALID_SIGNAL", "The signal breaks a rule.", {
      violations: [
        { field: "signal.stop_loss", description: "must be below the entry price" },
        { field: "signal.instrument", description: "must be known" },
      ],
      requestId: "req-1",
    });
    expect(describeDeliveryError({ ...signalInput(), idempotencyKey: "gold-1" }, error)).toBe(
      `GOLD buy, entry 4000.5, stop 3990, target 4020
Decided: 2025-10-25T14:30:45.123456789Z
Expires: 2025-10-25T15:30:45Z
Strategy: breakout
Idempotency key: gold-1
Why: [INVALID_SIGNAL] The signal breaks a rule.
- signal.stop_loss: must be below the entry price
- signal.instrument: must be known
Request id: req-1
What to do: Nothing was stored. Mend what the strategy sends, and decide by hand.`,
    );
  });

  it("leaves out what there is not, and writes times of any form", () => {
    const signal = { instrument: "GOLD", side: "sell", entryPrice: 1 } as const;
    const error = new SignalError("CLOCK_SKEW", "Late.");
    const text = describeDeliveryError(
      { ...signal, signalTime: 1_761_402_645_123_456_789n, expireTime: new Date(0) },
      error,
    );
    expect(text.split("\n")).toEqual([
      "GOLD sell, entry 1",
      "Decided: 2025-10-25T14:30:45.123456789Z",
      "Expires: 1970-01-01T00:00:00.000Z",
      "Why: [CLOCK_SKEW] Late.",
      "What to do: Nothing was stored. Set the clock of this machine, then send again.",
    ]);
  });

  it.each([
    "UNREACHABLE",
    "INVALID_RESPONSE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "CANCELLED",
    "UNKNOWN",
  ] as const)("warns that it may be stored after %s", (reason) => {
    const text = describeDeliveryError(signalInput(), new SignalError(reason, "x"));
    expect(text).toContain("It is not known whether it was stored.");
  });

  it("says that nothing was stored only where the server says so", () => {
    for (const reason of REASONS) {
      const error = new SignalError(reason, "x");
      const text = describeDeliveryError(signalInput(), error);
      if (text.includes("Nothing was stored")) expect(error.retryable, reason).toBe(false);
      if (error.retryable) expect(text, reason).toContain("It is not known");
    }
  });

  it("lists ten violations and counts the rest", () => {
    const violations = Array.from({ length: 25 }, (_, i) => ({ field: `f${i}`, description: "d" }));
    const text = describeDeliveryError({}, new SignalError("INVALID_SIGNAL", "x", { violations }));
    expect(text.match(/^- f\d+: d$/gm)).toHaveLength(10);
    expect(text).toContain("\n- and 15 more\n");
  });

  it("survives whatever it is given", () => {
    const hostile: unknown[] = [
      undefined,
      null,
      "text",
      7,
      10n ** 30n,
      Symbol("s"),
      () => {},
      Object.create(null),
      new Date(Number.NaN),
      new Proxy({}, { get: () => fail() }),
      {
        toString: fail,
        [Symbol.toPrimitive]: fail,
        get message() {
          return fail();
        },
      },
      { length: Number.POSITIVE_INFINITY },
      { length: { valueOf: fail } },
      { length: Symbol("s") },
      Array.from({ length: 100 }, () => null),
      "x".repeat(100_000),
    ];
    const any = fc.oneof(
      fc.constantFrom(...hostile),
      fc.anything({ withBigInt: true, withNullPrototype: true }),
    );
    const names = [
      "instrument",
      "side",
      "entryPrice",
      "stopLoss",
      "takeProfit",
      "signalTime",
      "expireTime",
      "strategyName",
      "idempotencyKey",
      "reason",
      "message",
      "violations",
      "requestId",
    ];
    const object = fc.dictionary(fc.constantFrom(...names), any);
    fc.assert(
      fc.property(fc.oneof(any, object), fc.oneof(any, object), (signal, error) => {
        const text = describeDeliveryError(signal, error);
        expect(text).toContain("\nWhat to do: ");
        expect(text.isWellFormed()).toBe(true);
        expect(text.length).toBeLessThan(20_000);
      }),
      { numRuns: 1_000 },
    );
  });
});

function fail(): never {
  throw new Error("This cannot be read.");
}
