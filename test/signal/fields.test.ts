/** The rule of each field by itself, tried on both sides of each of its bounds. */
import { describe, expect, test } from "vitest";
import {
  INVALID_TIME,
  type Instant,
  isIdempotencyKey,
  type UncheckedSignal,
} from "../../src/signal/index.ts";
import { SIGNAL_TIME, validSignal } from "../support/signals.ts";
import { NOW, verdictOn, violationsOf } from "./judge.ts";

type Named<Value> = readonly [name: string, value: Value];

/** A signal with nothing optional, so that no relation between fields interferes. */
function bare(overrides: UncheckedSignal): UncheckedSignal {
  return { stopLoss: undefined, takeProfit: undefined, payload: undefined, ...overrides };
}

const NANOSECOND: Instant = 1n;
const SECOND: Instant = 1_000_000_000n;

const ASTRAL = "\u{1f4c8}";
const LAST_CODE_POINT = "\u{10ffff}";
const C0 = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code));
const DEL_AND_C1 = Array.from({ length: 0x21 }, (_, index) => String.fromCharCode(0x7f + index));
const CONTROLS = [...C0, ...DEL_AND_C1];
const LONE_SURROGATES: readonly Named<string>[] = [
  ["a high surrogate at the end", "a\ud83d"],
  ["a low surrogate at the start", "\udcc8a"],
  ["surrogates in the wrong order", "\udcc8\ud83d"],
  ["a high surrogate before a pair", "\ud83d\u{1f4c8}"],
];
const WRONG_TYPES_OF_TEXT: readonly Named<unknown>[] = [
  ["null", null],
  ["a number", 5],
  ["a truth value", true],
  ["a list", ["GOLD"]],
  ["an object", { toString: () => "GOLD" }],
  ["a String object", Object("GOLD")],
];
const WRONG_NUMBERS: readonly Named<unknown>[] = [
  ["NaN", Number.NaN],
  ["infinity", Number.POSITIVE_INFINITY],
  ["minus infinity", Number.NEGATIVE_INFINITY],
  ["null", null],
  ["text", "1"],
  ["empty text", ""],
  ["a bigint", 1n],
  ["a truth value", true],
  ["a list", [1]],
  ["an object", { valueOf: () => 1 }],
  ["a Number object", Object(1)],
  ["a Date", new Date(1)],
];

/** What is said besides of a number in quotes. */
function orText(value: unknown): string {
  return typeof value === "string" ? ", and not text" : "";
}

describe("instrument", () => {
  test.each<Named<string>>([
    ["2 characters", "AB"],
    ["20 characters", "A".repeat(20)],
    ["every kind of character", "AZ09._-"],
    ["digits only", "00"],
    ["punctuation only", "--"],
  ])("may be %s", (_, instrument) => {
    expect(violationsOf({ instrument })).toEqual({});
  });

  test.each<Named<string>>([
    ["empty", ""],
    ["1 character", "A"],
    ["21 characters", "A".repeat(21)],
    ["64 KiB long", "A".repeat(65_536)],
    ["in lower case", "gold"],
    ["of one small letter among capitals", "GOLd"],
    ["of a blank", "GO LD"],
    ["of a slash", "EUR/USD"],
    ["of a letter that only looks Latin", "GОLD"],
    ["of a fullwidth letter", "ＧOLD"],
    ["of a digit that is not ASCII", "GOLD١"],
    ["ended by a line feed", "GOLD\n"],
    ["of a line feed between two names", "GOLD\nOIL"],
    ["of NUL", "GOLD\0"],
  ])("may not be %s", (_, instrument) => {
    expect(violationsOf({ instrument })).toEqual({
      instrument: "must be 2 to 20 characters of A-Z, 0-9, '.', '_' and '-'",
    });
  });

  test.each(WRONG_TYPES_OF_TEXT)("may not be %s", (_, instrument) => {
    expect(violationsOf({ instrument })).toEqual({ instrument: "must be text" });
  });
});

describe("side", () => {
  test.each(["buy", "sell"] as const)("may be %s", (side) => {
    expect(violationsOf(bare({ side }))).toEqual({});
  });

  test.each<Named<unknown>>([
    ["another word", "hold"],
    ["in capitals", "BUY"],
    ["empty", ""],
    ["padded", "buy "],
    ["a number", 0],
    ["null", null],
    ["a name that every object has", "toString"],
    ["__proto__", "__proto__"],
    ["a list", ["buy"]],
  ])("may not be %s", (_, side) => {
    expect(violationsOf({ side })).toEqual({ side: "must be buy or sell" });
  });
});

describe.each([
  ["entryPrice", "entry_price", {}],
  ["stopLoss", "stop_loss", { side: "buy", entryPrice: 1e12 }],
  ["stopLoss", "stop_loss", { side: "sell", entryPrice: 5e-324 }],
  ["takeProfit", "take_profit", { side: "sell", entryPrice: 1e12 }],
  ["takeProfit", "take_profit", { side: "buy", entryPrice: 5e-324 }],
] as const)("%s", (field, name, around) => {
  const rule = "must be a number above 0 and at most 1000000000000";
  const entryPrice: unknown = (around as UncheckedSignal).entryPrice;

  // Equal to the entry is a question of the relation, not of the field.
  const prices = [5e-324, 1e-300, 0.1 + 0.2, 1, 999_999_999_999.9999, 1e12];
  test.each(prices.filter((value) => value !== entryPrice))("may be %s", (value) => {
    expect(violationsOf(bare({ ...around, [field]: value }))).toEqual({});
  });

  test.each<Named<unknown>>([
    ["0", 0],
    ["-0", -0],
    ["below 0", -5e-324],
    ["far below 0", -1],
    ["the next number above 1e12", 1_000_000_000_000.0001],
    ["the greatest number", Number.MAX_VALUE],
    ...WRONG_NUMBERS,
  ])("may not be %s", (_, value) => {
    expect(violationsOf(bare({ ...around, [field]: value }))).toEqual({
      [name]: rule + orText(value),
    });
  });
});

describe("stopLoss and takeProfit", () => {
  const above = 100.00000000000001;
  const below = 99.99999999999999;
  const belowForBuy = { stop_loss: "must be below entry_price for a buy" };
  const aboveForBuy = { take_profit: "must be above entry_price for a buy" };
  const aboveForSell = { stop_loss: "must be above entry_price for a sell" };
  const belowForSell = { take_profit: "must be below entry_price for a sell" };

  test.each([
    ["buy", below, above, {}],
    ["buy", below, undefined, {}],
    ["buy", undefined, above, {}],
    ["buy", undefined, undefined, {}],
    ["buy", 100, above, belowForBuy],
    ["buy", above, undefined, belowForBuy],
    ["buy", below, 100, aboveForBuy],
    ["buy", undefined, below, aboveForBuy],
    ["buy", above, below, { ...belowForBuy, ...aboveForBuy }],
    ["sell", above, below, {}],
    ["sell", above, undefined, {}],
    ["sell", undefined, below, {}],
    ["sell", undefined, undefined, {}],
    ["sell", 100, below, aboveForSell],
    ["sell", below, undefined, aboveForSell],
    ["sell", above, 100, belowForSell],
    ["sell", undefined, above, belowForSell],
    ["sell", below, above, { ...aboveForSell, ...belowForSell }],
  ] as const)(
    "a %s at 100 with stop %s and target %s gives %o",
    (side, stopLoss, takeProfit, violations) => {
      expect(violationsOf({ side, entryPrice: 100, stopLoss, takeProfit })).toEqual(violations);
    },
  );
});

describe("confidence", () => {
  test.each([0, 5e-324, 0.5, 1 - 2 ** -53, 1])("may be %s", (confidence) => {
    expect(violationsOf({ confidence })).toEqual({});
  });

  test("of -0 becomes 0, since JSON knows no -0", () => {
    const verdict = verdictOn({ confidence: -0 });
    expect(verdict).toEqual({ valid: true, signal: validSignal({ confidence: 0 }) });
  });

  test.each<Named<unknown>>([
    ["just below 0", -5e-324],
    ["just above 1", 1 + Number.EPSILON],
    ["a percentage", 87],
    ...WRONG_NUMBERS,
  ])("may not be %s", (_, confidence) => {
    expect(violationsOf({ confidence })).toEqual({
      confidence: `must be a number from 0 to 1${orText(confidence)}`,
    });
  });
});

describe("riskPercent", () => {
  test.each([5e-324, 1, 100])("may be %s", (riskPercent) => {
    expect(violationsOf({ riskPercent })).toEqual({});
  });

  test.each<Named<unknown>>([
    ["0", 0],
    ["-0", -0],
    ["below 0", -1],
    ["just above 100", 100.00000000000001],
    ...WRONG_NUMBERS,
  ])("may not be %s", (_, riskPercent) => {
    expect(violationsOf({ riskPercent })).toEqual({
      risk_percent: `must be a number above 0 and at most 100${orText(riskPercent)}`,
    });
  });
});

describe.each([
  ["strategyName", "strategy_name", 64, "control characters"],
  ["reason", "reason", 500, "control characters (but tab and newline)"],
  ["comment", "comment", 500, "control characters (but tab and newline)"],
] as const)("%s", (field, name, maxLength, controls) => {
  const lengthRule = `must have at most ${maxLength} characters`;
  const textRule = `must be text without ${controls} or unpaired surrogates`;

  test.each<Named<string>>([
    ["empty", ""],
    [`${maxLength} ASCII characters`, "x".repeat(maxLength)],
    [`${maxLength} characters beyond the BMP, each counted once`, ASTRAL.repeat(maxLength)],
    [`${maxLength} times the last code point`, LAST_CODE_POINT.repeat(maxLength)],
    ["of line separators, which are no control characters", "a\u2028b\u2029c"],
    ["of the neighbours of the control characters", " ~\u00a0"],
    ["of noncharacters and private characters", "\ufffe\uffff\ue000"],
  ])("may be %s", (_, text) => {
    expect(violationsOf({ [field]: text })).toEqual({});
  });

  test.each<Named<string>>([
    [`${maxLength + 1} ASCII characters`, "x".repeat(maxLength + 1)],
    [`${maxLength + 1} characters beyond the BMP`, ASTRAL.repeat(maxLength + 1)],
    [`${maxLength} characters beyond the BMP and a letter`, `${ASTRAL.repeat(maxLength)}x`],
    [`${2 * maxLength + 1} characters`, "x".repeat(2 * maxLength + 1)],
    ["64 KiB of letters", "x".repeat(65_536)],
    ["64 KiB beyond the BMP", ASTRAL.repeat(32_768)],
  ])("may not be %s", (_, text) => {
    expect(violationsOf({ [field]: text })).toEqual({ [name]: lengthRule });
  });

  test("refuses each control character, wherever it stands", () => {
    const allowed = field === "strategyName" ? [] : ["\t", "\n"];
    for (const control of CONTROLS) {
      const expected = allowed.includes(control) ? {} : { [name]: textRule };
      for (const text of [control, `${control}a`, `a${control}`, `a${control}b`]) {
        expect(violationsOf({ [field]: text }), JSON.stringify(text)).toEqual(expected);
      }
    }
  });

  test.each([...LONE_SURROGATES, ...WRONG_TYPES_OF_TEXT])("may not be %s", (_, value) => {
    expect(violationsOf({ [field]: value })).toEqual({ [name]: textRule });
  });
});

const YEAR_2000: Instant = 946_684_800n * SECOND;
const LAST_NANOSECOND: Instant = 253_402_300_800n * SECOND - NANOSECOND;
const TIME_RULE =
  "must be a time with its zone, such as 2025-10-25T14:30:45Z, in upper case, with at most 9 fraction digits, up to the year 9999";

describe("signalTime", () => {
  test.each<Named<Instant>>([
    ["2000-01-01T00:00:00Z", YEAR_2000],
    ["the judge's own time", NOW],
    ["exactly 300 s ahead of the judge", NOW + 300n * SECOND],
  ])("may be %s", (_, signalTime) => {
    expect(violationsOf({ signalTime })).toEqual({});
  });

  test.each<readonly [string, UncheckedSignal["signalTime"], string]>([
    ["a nanosecond before 2000", YEAR_2000 - NANOSECOND, "must not be before the year 2000"],
    ["1970", 0n, "must not be before the year 2000"],
    ["the least int64 of seconds", -(2n ** 63n) * SECOND, "must not be before the year 2000"],
    [
      "300 s and a nanosecond ahead",
      NOW + 300n * SECOND + NANOSECOND,
      "must be at most 300 seconds ahead of the server's clock",
    ],
    [
      "the last nanosecond of 9999",
      LAST_NANOSECOND,
      "must be at most 300 seconds ahead of the server's clock",
    ],
    ["the year 10000", LAST_NANOSECOND + NANOSECOND, TIME_RULE],
    ["the greatest int64 of seconds", (2n ** 63n - 1n) * SECOND, TIME_RULE],
    ["what was sent but is no time", INVALID_TIME, TIME_RULE],
  ])("may not be %s", (_, signalTime, rule) => {
    expect(violationsOf({ signalTime })).toEqual({ signal_time: rule });
  });
});

describe("expireTime", () => {
  test.each<Named<Instant | undefined>>([
    ["absent", undefined],
    ["a nanosecond after signalTime", SIGNAL_TIME + NANOSECOND],
    ["the last nanosecond of 9999", LAST_NANOSECOND],
  ])("may be %s", (_, expireTime) => {
    expect(violationsOf({ expireTime })).toEqual({});
  });

  test("may be past by the judge's clock: whether a signal came too late is the store's to say", () => {
    const signalTime = NOW - 10n * SECOND;
    expect(violationsOf({ signalTime, expireTime: signalTime + SECOND })).toEqual({});
  });

  test.each<readonly [string, UncheckedSignal["expireTime"], string]>([
    ["signalTime itself", SIGNAL_TIME, "must be after signal_time"],
    ["before signalTime", SIGNAL_TIME - NANOSECOND, "must be after signal_time"],
    ["before 1970", -1n, "must be after signal_time"],
    ["the year 10000", LAST_NANOSECOND + NANOSECOND, TIME_RULE],
    ["what was sent but is no time", INVALID_TIME, TIME_RULE],
  ])("may not be %s", (_, expireTime, rule) => {
    expect(violationsOf({ expireTime })).toEqual({ expire_time: rule });
  });
});

describe("an idempotency key", () => {
  test.each<Named<string>>([
    ["1 character", "a"],
    ["128 characters", "k".repeat(128)],
    ["the first visible character", "\x21"],
    ["the last visible character", "\x7e"],
    ["a UUID", "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b"],
  ])("may be %s", (_, key) => {
    expect(isIdempotencyKey(key)).toBe(true);
  });

  test.each<Named<string>>([
    ["empty", ""],
    ["129 characters", "k".repeat(129)],
    ["a blank", "\x20"],
    ["a blank at its end", "key "],
    ["DEL", "\x7f"],
    ["a line feed at its end", "key\n"],
    ["a tab", "a\tb"],
    ["NUL", "a\0"],
    ["a letter beyond ASCII", "schlüssel"],
    ["an astral character", ASTRAL],
  ])("may not be %s", (_, key) => {
    expect(isIdempotencyKey(key)).toBe(false);
  });
});
