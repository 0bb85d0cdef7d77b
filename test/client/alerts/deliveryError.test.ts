import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import {
  type DeadLetterPlace,
  describeDeliveryError,
} from "../../../src/client/alerts/deliveryError.ts";
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
Idempotency key: gold-1
Decided: 2025-10-25T14:30:45.123456789Z
Expires: 2025-10-25T15:30:45Z
Strategy: breakout
Why: [INVALID_SIGNAL] The signal breaks a rule.
What to do: Nothing was stored: decide by hand whether to trade. Fix what the strategy sends.
Wrong fields:
- signal.stop_loss: must be below the entry price
- signal.instrument: must be known
Request id: req-1`,
    );
  });

  it("leaves out what there is not, and writes times of any form", () => {
    const signal = { instrument: "GOLD", side: "sell", entryPrice: 1, strategyName: "" } as const;
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
      "What to do: Nothing was stored. Set the clock of the sending machine. Then send it again " +
        "under the same idempotency key.",
    ]);
  });

  it("names a dead letter, its outbox, and the commands for it", () => {
    const error = new SignalError("INSTRUMENT_NOT_ALLOWED", "Not GOLD.");
    const place = { idempotencyKey: "gold-1", outbox: "/var/lib/bot/signals.outbox" };
    const signal = { instrument: "GOLD", side: "buy", entryPrice: 1, strategyName: "" } as const;
    expect(describeDeliveryError(signal, error, place)).toBe(
      `GOLD buy, entry 1
Idempotency key: gold-1
Dead letter in: /var/lib/bot/signals.outbox
Why: [INSTRUMENT_NOT_ALLOWED] Not GOLD.
What to do: Nothing was stored. Ask the operator of the server to allow this producer the instrument. Then retry it, or drop it if it is no longer wanted.
See it: countersign outbox list --dead --file /var/lib/bot/signals.outbox
Retry it: countersign outbox retry --file /var/lib/bot/signals.outbox gold-1`,
    );
  });

  it.each(["GIVEN_UP", "SIGNAL_EXPIRED", "INTERNAL"])(
    "warns that a dead letter may be stored after %s",
    (reason) => {
      const place = { idempotencyKey: "gold-1", outbox: "/a.outbox" };
      const text = describeDeliveryError(
        signalInput(),
        { ...new Error("x"), reason, message: "x" },
        place,
      );
      expect(text).toMatch(/may have (been )?stored/);
      expect(text).not.toContain("Nothing was stored");
    },
  );

  it.each([
    ["GIVEN_UP", "retry"],
    ["INTERNAL", "retry"],
    ["INSTRUMENT_NOT_ALLOWED", "retry"],
    ["SIGNAL_EXPIRED", "drop"],
    ["INVALID_SIGNAL", "drop"],
    ["IDEMPOTENCY_KEY_REUSED", "drop"],
  ])("has a dead letter of %s dealt with by %s", (reason, verb) => {
    const place = { idempotencyKey: "gold-1", outbox: "/a.outbox" };
    const text = describeDeliveryError(
      signalInput(),
      { ...new Error("x"), reason, message: "x" },
      place,
    );
    expect(text.split("\n").at(-1)).toMatch(
      new RegExp(`: countersign outbox ${verb} --file /a.outbox gold-1$`),
    );
    // The words of a call that is over have no place here.
    expect(text).not.toContain("send it again under");
  });

  it.each([
    "MALFORMED_BODY",
    "INVALID_SIGNAL",
    "IDEMPOTENCY_KEY_REUSED",
    "SIGNAL_EXPIRED",
    "BODY_TOO_LARGE",
    "PAYLOAD_TOO_LARGE",
  ] as const)("asks a person to decide where no repeat helps, after %s", (reason) => {
    const text = describeDeliveryError(signalInput(), new SignalError(reason, "x"));
    expect(text.match(/decide by hand/gi)).toHaveLength(1);
  });

  it("speaks of URL and secret only where these may be wrong", () => {
    for (const reason of REASONS) {
      const text = describeDeliveryError(signalInput(), new SignalError(reason, "x"));
      const isAccess = reason === "UNAUTHENTICATED";
      expect(/secret|URL/.test(text), reason).toBe(isAccess);
    }
    expect(describeDeliveryError(signalInput(), new SignalError("REFUSED", "x"))).toContain("URL");
  });

  it("writes commands that a shell takes for what they are", () => {
    const place = { idempotencyKey: "-$(reboot)'", outbox: "/var/my bot/~a;b.outbox" };
    const text = describeDeliveryError({}, new SignalError("INTERNAL", "x"), place);
    const command = text.split("\n").at(-1)?.replace("Retry it: countersign", "printf '%s|'");
    expect(execFileSync("/bin/sh", ["-c", command ?? ""], { encoding: "utf8" })).toBe(
      "outbox|retry|--file|/var/my bot/~a;b.outbox|--|-$(reboot)'|",
    );
  });

  it("gives no command for a name that it cannot show whole", () => {
    for (const outbox of [`/${"x".repeat(600)}`, "/a\nb", undefined]) {
      const place = { idempotencyKey: "gold-1", outbox } as DeadLetterPlace;
      const text = describeDeliveryError({}, new SignalError("INTERNAL", "x"), place);
      expect(text).not.toContain("countersign outbox");
    }
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

  it("keeps the commands when only its beginning is told", () => {
    const violations = Array.from({ length: 10 }, (_, place) => {
      return { field: `signal.field_${place}`, description: "must be something else ".repeat(3) };
    });
    const error = new SignalError("INVALID_SIGNAL", "The signal breaks a rule. ".repeat(12), {
      violations,
    });
    const place = { idempotencyKey: "gold-1", outbox: "/var/lib/bots/gold/signals.outbox" };
    const text = describeDeliveryError(signalInput(), error, place);
    expect(text.length).toBeGreaterThan(1_000);
    const drop = "countersign outbox drop --file /var/lib/bots/gold/signals.outbox gold-1\n";
    expect(text.slice(0, 1_000)).toContain(drop);
  });

  it("lists ten violations and counts the rest", () => {
    const violations = Array.from({ length: 25 }, (_, i) => ({ field: `f${i}`, description: "d" }));
    const text = describeDeliveryError({}, new SignalError("INVALID_SIGNAL", "x", { violations }));
    expect(text.match(/^- f\d+: d$/gm)).toHaveLength(10);
    expect(text).toMatch(/\n- and 15 more$/);
  });
});
