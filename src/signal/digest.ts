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
  return hash("sha256", canonicalJson(signal), "buffer");
}

/**
 * Only the payload needs the canonical form made. Of the rest, the names stand below in
 * their order, and JSON.stringify writes numbers and texts as RFC 8785, section 3.2.2, does.
 */
function canonicalJson(signal: Signal): string {
  const head = JSON.stringify({
    comment: signal.comment || undefined,
    confidence: signal.confidence,
    entry_price: signal.entryPrice,
    expire_time: signal.expireTime?.toString(),
    instrument: signal.instrument,
  });
  const payload = signal.payload && `"payload":${canonicalize(signal.payload)},`;
  const tail = JSON.stringify({
    reason: signal.reason || undefined,
    risk_percent: signal.riskPercent,
    side: signal.side,
    signal_time: signal.signalTime.toString(),
    stop_loss: signal.stopLoss,
    strategy_name: signal.strategyName || undefined,
    take_profit: signal.takeProfit,
  });
  return `${head.slice(0, -1)},${payload ?? ""}${tail.slice(1)}`;
}
