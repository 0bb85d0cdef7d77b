/**
 * What the rules of the signal's fields are made of: each judges a value by itself, and says
 * what it must be as a phrase for people.
 */
import { z } from "zod";
import { INEXACT_NUMBER } from "./exactNumber.ts";
import type { Instant, JsonObject } from "./values.ts";

const PRICE_MAX = 1e12;
const NANOS_PER_SECOND = 1_000_000_000n;
const EARLIEST_SIGNAL_TIME: Instant = 946_684_800n * NANOS_PER_SECOND; // 2000-01-01T00:00:00Z
/** The end of year 9999, the last that RFC 3339 and google.protobuf.Timestamp can write. */
const LATEST_TIME: Instant = 253_402_300_800n * NANOS_PER_SECOND - 1n;

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

/** A number above 0. */
function positive(max: number, rule: string) {
  return z.number(numberPhrase(rule)).gt(0, rule).lte(max, rule);
}

/** −0 becomes 0, since JSON and jsonb know no −0. */
function withoutNegativeZero(value: number): number {
  return value === 0 ? 0 : value;
}

/**
 * Text of at most `maxLength` Unicode code points (as PostgreSQL and Python count),
 * without the characters that `forbidden` finds. Absent text is empty.
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

export const instrument = z
  .string(phrase("must be text"))
  .regex(/^[A-Z0-9._-]{2,20}$/, "must be 2 to 20 characters of A-Z, 0-9, '.', '_' and '-'");

export const side = z.enum(["buy", "sell"], phrase("must be buy or sell"));

export const price = positive(PRICE_MAX, `must be a number above 0 and at most ${PRICE_MAX}`);

const shareRule = "must be a number from 0 to 1";
/** −0 becomes 0. */
export const share = z
  .number(numberPhrase(shareRule))
  .gte(0, shareRule)
  .lte(1, shareRule)
  .transform(withoutNegativeZero);

/** Of something, but not nothing of it. */
export const percentage = positive(100, "must be a number above 0 and at most 100");

/** Text of one line. */
export function line(maxLength: number) {
  const rule = "must be text without control characters or unpaired surrogates";
  return text(maxLength, /\p{Cc}/u, rule);
}

/** Text of several lines. */
export function prose(maxLength: number) {
  const rule =
    "must be text without control characters (but tab and newline) or unpaired surrogates";
  return text(maxLength, /[^\P{Cc}\t\n]/u, rule);
}

const timeRule =
  "must be a time with its zone, such as 2025-10-25T14:30:45Z, in upper case, with at most 9 fraction digits, up to the year 9999";
export const time = z.bigint(phrase(timeRule)).lte(LATEST_TIME, timeRule);
export const timeSince2000 = time.gte(EARLIEST_SIGNAL_TIME, "must not be before the year 2000");

/** Takes anything: payload.ts judges payloads, since the server sets how large they may be. */
export const payload = (z.unknown() as z.ZodType<JsonObject>).optional();
