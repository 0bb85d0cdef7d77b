/**
 * The rules of a valid signal, the same for the client before it sends and for the
 * server before it stores. Pure: time comes in as an argument.
 */
import { z } from "zod";
import { INEXACT_NUMBER } from "./exactNumber.ts";
import { payloadFaults } from "./payload.ts";
import type { Instant, JsonObject, Signal, UncheckedSignal, Violation } from "./signal.ts";

/** The greatest payload that a server takes unless told otherwise, in bytes of compact UTF-8 JSON. */
export const DEFAULT_PAYLOAD_MAX_BYTES = 32_768;

const PRICE_MAX = 1e12;
const NANOS_PER_SECOND = 1_000_000_000n;
const EARLIEST_SIGNAL_TIME: Instant = 946_684_800n * NANOS_PER_SECOND; // 2000-01-01T00:00:00Z
/** The end of year 9999, the last that RFC 3339 and google.protobuf.Timestamp can write. */
const LATEST_TIME: Instant = 253_402_300_800n * NANOS_PER_SECOND - 1n;
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

const EXACT_RULE = "has more digits than a double holds: round it to at most 15";

/** One phrase for an absent value, one for a number that would change, another for a wrong one. */
function phrase(rule: string): { error: (issue: { readonly input?: unknown }) => string } {
  return {
    error({ input }) {
      if (input === undefined) return "is required";
      return input === INEXACT_NUMBER ? EXACT_RULE : rule;
    },
  };
}

/** The same for a number: one in quotes looks right to who reads it, so it is told what is wrong. */
function numberPhrase(rule: string): ReturnType<typeof phrase> {
  const told = phrase(rule);
  const ofText = phrase(`${rule}, and not text`);
  return { error: (issue) => (typeof issue.input === "string" ? ofText : told).error(issue) };
}

/** −0 becomes 0, since JSON and jsonb know no −0. */
function withoutNegativeZero(value: number): number {
  return value === 0 ? 0 : value;
}

const priceRule = `must be a number above 0 and at most ${PRICE_MAX}`;
const price = z.number(numberPhrase(priceRule)).gt(0, priceRule).lte(PRICE_MAX, priceRule);

/**
 * Text of at most `maxLength` Unicode code points (as PostgreSQL and Python count),
 * without the characters that `forbidden` finds.
 */
function text(maxLength: number, forbidden: RegExp, rule: string) {
  return z
    .string(rule)
    .refine((value) => !exceedsCodePoints(value, maxLength), {
      error: `must have at most ${maxLength} characters`,
    })
    .refine((value) => value.isWellFormed() && !forbidden.test(value), { error: rule })
    .default("");
}

function exceedsCodePoints(value: string, max: number): boolean {
  // A string has at most as many code points as UTF-16 units, so most need no count,
  // and one of more than twice the limit needs none either.
  if (value.length <= max) return false;
  return value.length > 2 * max || [...value].length > max;
}

const nameText = text(
  64,
  /\p{Cc}/u,
  "must be text without control characters or unpaired surrogates",
);
const proseText = text(
  500,
  /[^\P{Cc}\t\n]/u,
  "must be text without control characters (but tab and newline) or unpaired surrogates",
);
const timeRule =
  "must be a time with its zone, such as 2025-10-25T14:30:45Z, in upper case, with at most 9 fraction digits, up to the year 9999";
const time = z.bigint(phrase(timeRule)).lte(LATEST_TIME, timeRule);

const confidenceRule = "must be a number from 0 to 1";
const riskRule = "must be a number above 0 and at most 100";

/** Each field by itself. What relates two fields is judged in {@link relationFaults}. */
const fields = z.object({
  instrument: z
    .string(phrase("must be text"))
    .regex(/^[A-Z0-9._-]{2,20}$/, "must be 2 to 20 characters of A-Z, 0-9, '.', '_' and '-'"),
  side: z.enum(["buy", "sell"], phrase("must be buy or sell")),
  entryPrice: price,
  stopLoss: price.optional(),
  takeProfit: price.optional(),
  confidence: z
    .number(numberPhrase(confidenceRule))
    .gte(0, confidenceRule)
    .lte(1, confidenceRule)
    .transform(withoutNegativeZero)
    .optional(),
  riskPercent: z.number(numberPhrase(riskRule)).gt(0, riskRule).lte(100, riskRule).optional(),
  strategyName: nameText,
  reason: proseText,
  comment: proseText,
  signalTime: time.gte(EARLIEST_SIGNAL_TIME, "must not be before the year 2000"),
  expireTime: time.optional(),
});

type Fields = z.infer<typeof fields>;

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
      addViolation(violations, snakeCase(String(issue.path[0])), issue.message);
    }
  }
  for (const fault of relationFaults(soundFields(unchecked, judged), limits.now)) {
    addViolation(violations, fault.field, fault.description);
  }
  const payload = payloadFaults(unchecked.payload, limits.payloadMaxBytes);
  const othersAreSound = violations.length === 0;
  for (const fault of payload.violations) addViolation(violations, fault.field, fault.description);

  if (judged.success && violations.length === 0) {
    return { valid: true, signal: normalForm(judged.data, unchecked.payload) };
  }
  const tooLarge = othersAreSound && payload.isOnlyTooLarge;
  return { valid: false, reason: tooLarge ? "PAYLOAD_TOO_LARGE" : "INVALID_SIGNAL", violations };
}

/** One violation a field: the first rule broken is the one to mend first. */
function addViolation(violations: Violation[], field: string, description: string): void {
  if (!violations.some((known) => known.field === field)) violations.push({ field, description });
}

/** The fields that passed, so that relations between them are judged though others failed. */
function soundFields(
  unchecked: UncheckedSignal,
  judged: ReturnType<typeof fields.safeParse>,
): Partial<Fields> {
  if (judged.success) return judged.data;
  const wrong = new Set(judged.error.issues.map((issue) => issue.path[0]));
  const entries = Object.entries(unchecked).filter(([name]) => !wrong.has(name));
  return Object.fromEntries(entries);
}

/** The rules that hold between two fields, or between a field and the clock. */
function relationFaults(signal: Partial<Fields>, now: Instant): Violation[] {
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

function normalForm(judged: Fields, payload: unknown): Signal {
  return {
    instrument: judged.instrument,
    side: judged.side,
    entryPrice: judged.entryPrice,
    stopLoss: judged.stopLoss,
    takeProfit: judged.takeProfit,
    confidence: judged.confidence,
    riskPercent: judged.riskPercent,
    strategyName: judged.strategyName,
    reason: judged.reason,
    comment: judged.comment,
    signalTime: judged.signalTime,
    expireTime: judged.expireTime,
    // payloadFaults proved that it is a JSON object or absent.
    payload: payload as JsonObject | undefined,
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The rule of an idempotency key, as a phrase for people. */
export const IDEMPOTENCY_KEY_RULE = "must be 1 to 128 visible ASCII characters";

/** Whether a text may be an idempotency key: 1 to 128 characters from 0x21 to 0x7e. */
export function isIdempotencyKey(key: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(key);
}
