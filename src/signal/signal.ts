/**
 * What a trading signal is, apart from any wire format or database.
 */

/** A point in time as nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. */
export type Instant = bigint;

/** The direction of a trade: `buy` opens a long position, `sell` a short one. */
export type Side = "buy" | "sell";

/** Where a signal stands on its way from the producer to the executor. */
export type SignalStatus = "received" | "pending_approval" | "approved" | "rejected" | "expired";

/** Any value that JSON can hold. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object. */
export type JsonObject = { [key: string]: JsonValue };

/**
 * A valid signal in its normal form: every rule of {@link validateSignal} holds, an
 * absent optional field is `undefined`, an absent text is empty, and no field is −0.
 * Within the payload −0 and 0 mean the same.
 */
export interface Signal {
  /** What to trade, for instance `GOLD`. */
  readonly instrument: string;
  readonly side: Side;
  /** The price at which to enter, in the instrument's quote currency. */
  readonly entryPrice: number;
  /** The price at which to leave with a loss. */
  readonly stopLoss: number | undefined;
  /** The price at which to leave with a gain. */
  readonly takeProfit: number | undefined;
  /** How sure the strategy is, 0 to 1. */
  readonly confidence: number | undefined;
  /** The share of the account to risk, in percent, above 0 to 100. */
  readonly riskPercent: number | undefined;
  /** Which strategy decided. */
  readonly strategyName: string;
  /** Why it decided so. */
  readonly reason: string;
  /** Anything else for people to read. */
  readonly comment: string;
  /** When the strategy decided. */
  readonly signalTime: Instant;
  /** When the signal stops being worth executing. */
  readonly expireTime: Instant | undefined;
  /** Whatever else the producer passes on. */
  readonly payload: JsonObject | undefined;
}

/** A time field that was sent but is not a time, for instance with 2e9 nanoseconds. */
export const INVALID_TIME = Symbol("invalid time");

/**
 * A signal as it came from outside, decoded but not checked. An edge that decodes a
 * wire format fills it in as faithfully as it can and leaves all judging to
 * {@link validateSignal}.
 */
export type UncheckedSignal = {
  readonly [Field in keyof Signal]?: Signal[Field] extends Instant | undefined
    ? Instant | typeof INVALID_TIME | undefined
    : unknown;
};

/**
 * An {@link UncheckedSignal} that names every field, if only as `undefined`, so that the
 * compiler asks each edge for a field that was added.
 */
export type DecodedSignal = { readonly [Field in keyof Signal]: UncheckedSignal[Field] };

/** One wrong field of a request, and the rule that it breaks. */
export interface Violation {
  /** Path of the field in snake_case, such as `signal.entry_price`. */
  readonly field: string;
  /** The rule, as an English phrase. Never repeats the value that was sent. */
  readonly description: string;
}
