/**
 * Corrects what the protobuf library takes for JSON though it is not what was meant:
 * dates that do not exist, which it moves into the next month, and numbers that are not
 * decimal. Such a field is marked as invalid, so that validation names it like any other.
 */
import { INVALID_TIME, type UncheckedSignal } from "../signal/index.ts";
import { parseTimestamp } from "../signing/index.ts";

const TIME_FIELDS = ["signalTime", "expireTime"] as const;
const NUMBER_FIELDS = [
  "entryPrice",
  "stopLoss",
  "takeProfit",
  "confidence",
  "riskPercent",
] as const;
/** A number as RFC 8259, section 6 writes it. */
const DECIMAL_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** What replaces the decoded fields of one signal. */
export type SignalOverrides = Pick<
  UncheckedSignal,
  (typeof TIME_FIELDS)[number] | (typeof NUMBER_FIELDS)[number]
>;

/**
 * The overrides for each signal in the JSON of an IngestRequest (one) or an
 * IngestBatchRequest (one for each item, in order).
 */
export function jsonOverrides(request: unknown): SignalOverrides[] {
  if (!isObject(request)) return [];
  const items = Array.isArray(request.requests) ? request.requests : [request];
  return items.map((item) =>
    isObject(item) && isObject(item.signal) ? signalOverrides(item.signal) : {},
  );
}

function signalOverrides(signal: Record<string, unknown>): SignalOverrides {
  const overrides: { -readonly [Field in keyof SignalOverrides]: SignalOverrides[Field] } = {};
  for (const field of TIME_FIELDS) {
    const text = textOf(signal, field);
    if (text !== undefined && parseTimestamp(text) === undefined) overrides[field] = INVALID_TIME;
  }
  for (const field of NUMBER_FIELDS) {
    const text = textOf(signal, field);
    if (text !== undefined && !DECIMAL_NUMBER.test(text)) overrides[field] = Number.NaN;
  }
  return overrides;
}

/** ProtoJSON takes a field by its lowerCamelCase or by its proto name. */
function textOf(signal: Record<string, unknown>, field: string): string | undefined {
  const protoName = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const value = signal[field] ?? signal[protoName];
  return typeof value === "string" ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
