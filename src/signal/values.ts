/**
 * The values that fields have, apart from any wire format or database.
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

/** A time field that was sent but is not a time, for instance with 2e9 nanoseconds. */
export const INVALID_TIME = Symbol("invalid time");

/** One wrong field of a request, and the rule that it breaks. */
export interface Violation {
  /** Path of the field in snake_case, such as `signal.entry_price`. */
  readonly field: string;
  /** The rule, as an English phrase. Never repeats the value that was sent. */
  readonly description: string;
}
