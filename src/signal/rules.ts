/**
 * The rules of a valid signal, the same for the client before it sends and for the
 * server before it stores. Pure: time comes in as an argument.
 */
import { z } from "zod";
import {
  SIGNAL_FIELD_LIST,
  SIGNAL_FIELDS,
  type Signal,
  type SignalField,
  type UncheckedSignal,
} from "./fields.ts";
import { payloadFaults } from "./payload.ts";
import type { Instant, Violation } from "./values.ts";

const NANOS_PER_SECOND = 1_000_000_000n;
const FUTURE_TOLERANCE: Instant = 300n * NANOS_PER_SECOND;

/** What the judge must know besides the signal. */
export interface SignalLimits {
  /** The judge's clock. */
  readonly now: Instant;
  /** The greatest payload, in bytes of compact UTF-8 JSON. */
  readonly payloadMaxBytes: number;
}

/** The outcome of {@link validateSignal}. */
export type SignalVerdict =
  | { readonly valid: true; readonly signal: Signal }
  | {
      readonly valid: false;
      /** `PAYLOAD_TOO_LARGE` if the payload's size is all that is wrong. */
      readonly reason: "INVALID_SIGNAL" | "PAYLOAD_TOO_LARGE";
      readonly violations: readonly Violation[];
    };

/** Each field by itself. What relates two fields is judged in {@link relationFaults}. */
const fields = z.object(
  Object.fromEntries(SIGNAL_FIELD_LIST.map(({ field, rule }) => [field, rule])) as {
    readonly [Name in SignalField]: (typeof SIGNAL_FIELDS)[Name]["rule"];
  },
);

/**
 * Judges a signal by all rules at once.
 *
 * @returns the signal in its normal form, or a violation for every wrong field.
 */
export function validateSignal(unchecked: UncheckedSignal, limits: SignalLimits): SignalVerdict {
  const violations: Violation[] = [];
  const judged = fields.safeParse(unchecked);
  if (!judged.success) {
    for (const issue of judged.error.issues) {
      addViolation(violations, SIGNAL_FIELDS[issue.path[0] as SignalField].name, issue.message);
    }
  }
  for (const fault of relationFaults(soundFields(unchecked, judged), limits.now)) {
    addViolation(violations, fault.field, fault.description);
  }
  const payload = payloadFaults(unchecked.payload, limits.payloadMaxBytes);
  const othersAreSound = violations.length === 0;
  for (const fault of payload.violations) addViolation(violations, fault.field, fault.description);

  if (judged.success && violations.length === 0) {
    // What zod calls optional is `undefined` here.
    return { valid: true, signal: judged.data as Signal };
  }
  const tooLarge = othersAreSound && payload.isOnlyTooLarge;
  return { valid: false, reason: tooLarge ? "PAYLOAD_TOO_LARGE" : "INVALID_SIGNAL", violations };
}

/** One violation a field: the first rule broken is the one to fix first. */
function addViolation(violations: Violation[], field: string, description: string): void {
  if (!violations.some((known) => known.field === field)) violations.push({ field, description });
}

/** The fields that passed, so that relations between them are judged though others failed. */
function soundFields(
  unchecked: UncheckedSignal,
  judged: ReturnType<typeof fields.safeParse>,
): Partial<Signal> {
  if (judged.success) return judged.data;
  const wrong = new Set(judged.error.issues.map((issue) => issue.path[0]));
  const entries = Object.entries(unchecked).filter(([name]) => !wrong.has(name));
  return Object.fromEntries(entries);
}

/** The rules that hold between two fields, or between a field and the clock. */
function relationFaults(signal: Partial<Signal>, now: Instant): Violation[] {
  const faults: Violation[] = [];
  const { side, entryPrice, stopLoss, takeProfit, signalTime, expireTime } = signal;
  if (side !== undefined && entryPrice !== undefined) {
    const isBuy = side === "buy";
    if (stopLoss !== undefined && (isBuy ? stopLoss >= entryPrice : stopLoss <= entryPrice)) {
      const place = isBuy ? "below entry_price for a buy" : "above entry_price for a sell";
      faults.push({ field: "stop_loss", description: `must be ${place}` });
    }
    if (takeProfit !== undefined && (isBuy ? takeProfit <= entryPrice : takeProfit >= entryPrice)) {
      const place = isBuy ? "above entry_price for a buy" : "below entry_price for a sell";
      faults.push({ field: "take_profit", description: `must be ${place}` });
    }
  }
  if (signalTime !== undefined && signalTime > now + FUTURE_TOLERANCE) {
    const description = "must be at most 300 seconds ahead of the server's clock";
    faults.push({ field: "signal_time", description });
  }
  if (signalTime !== undefined && expireTime !== undefined && expireTime <= signalTime) {
    faults.push({ field: "expire_time", description: "must be after signal_time" });
  }
  return faults;
}

/** The rule of an idempotency key, as a phrase for people. */
export const IDEMPOTENCY_KEY_RULE = "must be 1 to 128 visible ASCII characters";

/** Whether a text may be an idempotency key: 1 to 128 characters from 0x21 to 0x7e. */
export function isIdempotencyKey(key: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(key);
}
