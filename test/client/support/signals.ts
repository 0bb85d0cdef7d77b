import type { ClientClock, SignalInput } from "../../../src/client/index.ts";

/** 2025-10-25T14:30:45.123456789Z */
export const NOW = 1_761_402_645_123_456_789n;

/** A clock that goes on by a second each time it is read. */
export function tickingClock(start = NOW): ClientClock {
  let now = start;
  return {
    now: () => {
      now += 1_000_000_000n;
      return now;
    },
  };
}

/** A signal that holds every rule, with every field, unless overridden. */
export function signalInput(overrides: Partial<SignalInput> = {}): SignalInput {
  return {
    instrument: "GOLD",
    side: "buy",
    entryPrice: 4000.5,
    stopLoss: 3990,
    takeProfit: 4020,
    confidence: 0.8,
    riskPercent: 1.5,
    strategyName: "breakout",
    reason: "Above the range.\nWith volume.",
    comment: "Größe: klein €",
    signalTime: "2025-10-25T14:30:45.123456789Z",
    expireTime: "2025-10-25T15:30:45Z",
    payload: { z: 1, a: { y: [1, { d: null, c: true }], x: "text" }, "10": 1, "9": 2 },
    ...overrides,
  };
}
