/** The rules of the contract (`proto/signals/v1/signal.proto`), for what is stored. */
import type { JsonValue, Signal } from "../../../src/signal/index.ts";

const PRICE_MAX = 1e12;
const TEXT_MAX = 500;
const SINCE_2000 = 946_684_800_000_000_000n;
const UNTIL_10000 = 253_402_300_800_000_000_000n;

/** Which rules of the contract a stored signal breaks. @param receiveTime the server's clock. */
export function faultsOf(signal: Signal, key: string | undefined, receiveTime: bigint): string[] {
  const { side, entryPrice, stopLoss, takeProfit, signalTime, expireTime, payload } = signal;
  const [below, above] = side === "buy" ? [stopLoss, takeProfit] : [takeProfit, stopLoss];
  const isPrice = (price: number | undefined) =>
    price === undefined || (price > 0 && price <= PRICE_MAX);
  const rules: Readonly<Record<string, boolean>> = {
    instrument: /^[A-Z0-9._-]{2,20}$/.test(signal.instrument),
    side: side === "buy" || side === "sell",
    prices: [entryPrice, stopLoss, takeProfit].every(isPrice),
    below: below === undefined || below < entryPrice,
    above: above === undefined || above > entryPrice,
    confidence: (signal.confidence ?? 0) >= 0 && (signal.confidence ?? 0) <= 1,
    risk_percent: (signal.riskPercent ?? 1) > 0 && (signal.riskPercent ?? 1) <= 100,
    strategy_name: isText(signal.strategyName, 64, /\p{Cc}/u),
    reason: isText(signal.reason, TEXT_MAX, /[^\P{Cc}\t\n]/u),
    comment: isText(signal.comment, TEXT_MAX, /[^\P{Cc}\t\n]/u),
    signal_time: signalTime >= SINCE_2000 && signalTime <= receiveTime + 300_000_000_000n,
    expire_time:
      expireTime === undefined ||
      (expireTime > signalTime && expireTime > receiveTime && expireTime < UNTIL_10000),
    payload: payload === undefined || isPayload(payload),
    idempotency_key: key === undefined || /^[!-~]{1,128}$/.test(key),
  };
  return Object.keys(rules).filter((rule) => rules[rule] !== true);
}

function isText(text: string, max: number, forbidden: RegExp): boolean {
  return [...text].length <= max && text.isWellFormed() && !forbidden.test(text);
}

function isPayload(payload: JsonValue): boolean {
  const isSmall = Buffer.byteLength(JSON.stringify(payload)) <= 32_768;
  return isSmall && isValue(payload, 0);
}

function isValue(value: JsonValue, depth: number): boolean {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  const inner = Object.entries(value).flat() as JsonValue[];
  return depth < 16 && inner.every((item) => isValue(item, depth + 1));
}
