/**
 * What the author of a strategy writes, and how it becomes a signal. Pure.
 */
import {
  INVALID_TIME,
  type Instant,
  type JsonObject,
  nearestName,
  SIGNAL_FIELD_LIST,
  SIGNAL_FIELDS,
  type Side,
  type UncheckedSignal,
} from "../signal/index.ts";
import { parseTimestamp } from "../signing/index.ts";

/**
 * A point in time: a `Date`, an RFC 3339 text such as `2025-10-25T14:30:45.123456Z`, or
 * nanoseconds since 1970. The last two keep what is finer than a millisecond.
 */
export type TimeInput = Date | string | Instant;

/**
 * One decision of a strategy. The rules of its fields are those of
 * `signals/v1/signal.proto`; prices are in the instrument's quote currency.
 */
export interface SignalInput {
  /** What to trade, for instance `GOLD`: 2 to 20 characters of A-Z, 0-9, `.`, `_` and `-`. */
  readonly instrument: string;
  readonly side: Side;
  /** The price at which to enter, above 0. */
  readonly entryPrice: number;
  /** The price at which to leave with a loss: below the entry for a buy, above for a sell. */
  readonly stopLoss?: number | undefined;
  /** The price at which to leave with a gain: above the entry for a buy, below for a sell. */
  readonly takeProfit?: number | undefined;
  /** How sure the strategy is, 0 to 1. */
  readonly confidence?: number | undefined;
  /** The share of the account to risk, in percent, above 0 to 100. */
  readonly riskPercent?: number | undefined;
  /** Which strategy decided, at most 64 characters. */
  readonly strategyName?: string | undefined;
  /** Why it decided so, at most 500 characters. */
  readonly reason?: string | undefined;
  /** Anything else for people to read, at most 500 characters. */
  readonly comment?: string | undefined;
  /**
   * When the strategy decided. Defaults to now. Give it to send the same signal again in a
   * second call under the same idempotency key: another time is another content.
   */
  readonly signalTime?: TimeInput | undefined;
  /** When the signal stops being worth executing. Defaults to never. */
  readonly expireTime?: TimeInput | undefined;
  /** Whatever else to pass on: a JSON object, at most 32,768 bytes as JSON, 16 levels deep, 8,000 values. */
  readonly payload?: JsonObject | undefined;
}

/** A field that no signal has, for instance a misspelt stop loss. */
export interface UnknownField {
  readonly name: string;
  /** The field that was probably meant. */
  readonly meant: string | undefined;
}

/** The fields of an input that no signal has. */
export function unknownFields(input: SignalInput): UnknownField[] {
  return Object.keys(input)
    .filter((name) => !Object.hasOwn(SIGNAL_FIELDS, name))
    .map((name) => ({ name, meant: nearestName(name, Object.keys(SIGNAL_FIELDS)) }));
}

/** Takes an input apart. Judges nothing: `validateSignal` does. */
export function signalFromInput(input: SignalInput, now: Instant): UncheckedSignal {
  const { signalTime, expireTime } = input;
  // Each by its name: those of an instance of a class may be accessors, which a copy leaves out.
  const fields = SIGNAL_FIELD_LIST.map(({ field }) => [field, input[field]]);
  return {
    ...(Object.fromEntries(fields) as UncheckedSignal),
    signalTime: signalTime === undefined ? now : instantFromInput(signalTime),
    expireTime: expireTime === undefined ? undefined : instantFromInput(expireTime),
  };
}

/** @param time is unknown, because not every author has a compiler to check it. */
function instantFromInput(time: unknown): Instant | typeof INVALID_TIME {
  if (typeof time === "bigint") return time;
  if (typeof time === "string") return parseTimestamp(time) ?? INVALID_TIME;
  if (time instanceof Date && !Number.isNaN(time.getTime())) {
    return BigInt(time.getTime()) * NANOS_PER_MILLISECOND;
  }
  return INVALID_TIME;
}

const NANOS_PER_MILLISECOND = 1_000_000n;
