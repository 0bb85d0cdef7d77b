import { Side, type Signal } from "../../gen/signals/v1/signal_pb.ts";

const PRICE_MAX = 1e12;
const EARLIEST_SECONDS = 946_684_800n;
const FUTURE_TOLERANCE_SECONDS = 300n;
const PAYLOAD_MAX_BYTES = 32_768;

/** The rules of a signal as plain conditions. @returns the fields that break one. */
export function wrongFields(signal: Signal, nowSeconds: bigint): string[] {
  const { entryPrice, stopLoss, takeProfit, confidence, riskPercent } = signal;
  const direction = signal.side === Side.SELL ? -1 : 1;
  const seconds = signal.signalTime?.seconds ?? 0n;
  const expireSeconds = signal.expireTime?.seconds;
  const sound: Readonly<Record<string, boolean>> = {
    instrument: /^[A-Z0-9._-]{2,20}$/.test(signal.instrument),
    side: signal.side === Side.BUY || signal.side === Side.SELL,
    entry_price: isPrice(entryPrice),
    stop_loss:
      stopLoss === undefined || (isPrice(stopLoss) && (entryPrice - stopLoss) * direction > 0),
    take_profit:
      takeProfit === undefined ||
      (isPrice(takeProfit) && (takeProfit - entryPrice) * direction > 0),
    confidence: confidence === undefined || (confidence >= 0 && confidence <= 1),
    risk_percent: riskPercent === undefined || (riskPercent > 0 && riskPercent <= 100),
    strategy_name: isText(signal.strategyName, 64),
    reason: isText(signal.reason, 500),
    comment: isText(signal.comment, 500),
    signal_time: seconds >= EARLIEST_SECONDS && seconds <= nowSeconds + FUTURE_TOLERANCE_SECONDS,
    expire_time: expireSeconds === undefined || expireSeconds > seconds,
    payload:
      signal.payload === undefined ||
      Buffer.byteLength(JSON.stringify(signal.payload)) <= PAYLOAD_MAX_BYTES,
  };
  return Object.keys(sound).filter((field) => sound[field] === false);
}

function isPrice(value: number): boolean {
  return value > 0 && value <= PRICE_MAX;
}

function isText(value: string, maxLength: number): boolean {
  return value.length <= maxLength && !/[^\P{Cc}\t\n]/u.test(value);
}
