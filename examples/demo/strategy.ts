/**
 * A small real strategy: buy when the fast moving average rises above the slow one, sell
 * when it falls below.
 */
import { SMA } from "trading-signals";
import type { SignalInput } from "../../src/client/index.ts";
import type { Price } from "./prices.ts";

const FAST_MONTHS = 3;
const SLOW_MONTHS = 12;
/** How far the stop loss is from the entry price, as a share of it. */
const STOP_SHARE = 0.08;
/** How far the take profit is from it. */
const TARGET_SHARE = 0.16;

/** The signals that the strategy makes from one symbol's prices, in the order of time. */
export function movingAverageCross(prices: readonly Price[]): SignalInput[] {
  const fast = new SMA(FAST_MONTHS);
  const slow = new SMA(SLOW_MONTHS);
  const signals: SignalInput[] = [];
  let wasAbove: boolean | undefined;
  for (const price of prices) {
    fast.add(price.close);
    slow.add(price.close);
    if (!slow.isStable) continue;
    const averages = { fast: fast.getResultOrThrow(), slow: slow.getResultOrThrow() };
    const isAbove = averages.fast > averages.slow;
    if (wasAbove !== undefined && isAbove !== wasAbove) {
      signals.push(signalOf(price, isAbove ? "buy" : "sell", averages));
    }
    wasAbove = isAbove;
  }
  return signals;
}

function signalOf(
  { symbol, time, close }: Price,
  side: "buy" | "sell",
  averages: { readonly fast: number; readonly slow: number },
): SignalInput {
  const direction = side === "buy" ? 1 : -1;
  return {
    instrument: symbol,
    side,
    entryPrice: close,
    stopLoss: cents(close * (1 - direction * STOP_SHARE)),
    takeProfit: cents(close * (1 + direction * TARGET_SHARE)),
    riskPercent: 1,
    strategyName: `sma-${FAST_MONTHS}-${SLOW_MONTHS}`,
    reason: `The ${FAST_MONTHS}-month average crossed ${side === "buy" ? "above" : "below"} the ${SLOW_MONTHS}-month average.`,
    signalTime: time,
    payload: { fast: cents(averages.fast), slow: cents(averages.slow) },
  };
}

function cents(price: number): number {
  return Math.round(price * 100) / 100;
}
