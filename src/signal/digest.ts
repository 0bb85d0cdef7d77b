import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import type { JsonObject, JsonValue, Signal } from "./signal.ts";

/**
 * The SHA-256 of a signal's content, 32 bytes: equal for two signals exactly if every
 * field is equal, whatever protocol they came by.
 *
 * What is hashed is the RFC 8785 canonical JSON of the signal with its snake_case field
 * names; absent fields and empty texts are left out, times are decimal strings of
 * nanoseconds since 1970.
 *
 * @param payload the payload by {@link canonicalPayload}, if it was made already.
 */
export function contentSha256(
  signal: Signal,
  payload = signal.payload && canonicalPayload(signal.payload),
): Buffer {
  return hash("sha256", canonicalJson(signal, payload), "buffer");
}

/** The RFC 8785 canonical JSON of a payload. */
export function canonicalPayload(payload: JsonObject): string {
  // RFC 8785 differs from JSON.stringify in the order of keys only (section 3.2), and to look
  // at that order takes less time and memory than to put the text together piece by piece.
  if (hasSortedKeys(payload)) return JSON.stringify(payload);
  // A copy, since those pieces would all be kept.
  return Buffer.from(canonicalize(payload) as string).toString();
}

/** Whether the keys of each object in a value are in the order of their UTF-16 code units. */
function hasSortedKeys(value: JsonValue): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every(hasSortedKeys);
  let last: string | undefined;
  for (const [key, item] of Object.entries(value)) {
    if (last !== undefined && last > key) return false;
    if (!hasSortedKeys(item)) return false;
    last = key;
  }
  return true;
}

/**
 * Only the payload needs the canonical form made. Of the rest, the names stand below in
 * their order, and JSON.stringify writes numbers and texts as RFC 8785, section 3.2.2, does.
 */
function canonicalJson(signal: Signal, payload: string | undefined): string {
  const head = JSON.stringify({
    comment: signal.comment || undefined,
    confidence: signal.confidence,
    entry_price: signal.entryPrice,
    expire_time: signal.expireTime?.toString(),
    instrument: signal.instrument,
  });
  const tail = JSON.stringify({
    reason: signal.reason || undefined,
    risk_percent: signal.riskPercent,
    side: signal.side,
    signal_time: signal.signalTime.toString(),
    stop_loss: signal.stopLoss,
    strategy_name: signal.strategyName || undefined,
    take_profit: signal.takeProfit,
  });
  const middle = payload === undefined ? "" : `"payload":${payload},`;
  return `${head.slice(0, -1)},${middle}${tail.slice(1)}`;
}
