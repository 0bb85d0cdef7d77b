import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import type { Signal } from "./signal.ts";

/**
 * The SHA-256 of a signal's content, 32 bytes: equal for two signals exactly if every
 * field is equal, whatever protocol they came by.
 *
 * What is hashed is the RFC 8785 canonical JSON of the signal with its snake_case field
 * names; absent fields and empty texts are left out, times are decimal strings of
 * nanoseconds since 1970.
 */
export function contentSha256(signal: Signal): Buffer {
  const canonical = canonicalize({
    instrument: signal.instrument,
    side: signal.side,
    entry_price: signal.entryPrice,
    stop_loss: signal.stopLoss,
    take_profit: signal.takeProfit,
    confidence: signal.confidence,
    risk_percent: signal.riskPercent,
    strategy_name: signal.strategyName || undefined,
    reason: signal.reason || undefined,
    comment: signal.comment || undefined,
    signal_time: signal.signalTime.toString(),
    expire_time: signal.expireTime?.toString(),
    payload: signal.payload,
  });
  return hash("sha256", canonical as string, "buffer");
}
