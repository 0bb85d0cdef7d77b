/** The verdict as a whole: everything that is wrong at once, and the normal form. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type FieldKind,
  INVALID_TIME,
  SIGNAL_FIELD_LIST,
  type UncheckedSignal,
  validateSignal,
} from "../../src/signal/index.ts";
import { arbitrarySignal, payloadOfBytes, SIGNAL_TIME, validSignal } from "../support/signals.ts";
import { NOW, verdictOn, verdictOnExactly, violationsOf } from "./judge.ts";

const limits = { now: NOW, payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES };

/** A wrong value for every field there is. */
const WRONG: Readonly<Record<FieldKind, unknown>> = {
  text: "sentinel\0text",
  side: "sentinel-side",
  number: "sentinel-number",
  time: INVALID_TIME,
  object: { sentinel: "sentinel\0value", "sentinel\0key": 1 },
};
const ALL_WRONG: UncheckedSignal = Object.fromEntries(
  SIGNAL_FIELD_LIST.map(({ field, kind }) => [field, WRONG[kind]]),
);

describe("a valid signal", () => {
  test("is given back just as it is, anywhere in the valid space", () => {
    fc.assert(
      fc.property(arbitrarySignal({ now: NOW }), (signal) => {
        expect(validateSignal(signal, limits)).toEqual({ valid: true, signal });
      }),
      { numRuns: 500 },
    );
  });

  test("has every field in its normal form, absent ones as undefined and texts as empty", () => {
    const texts = SIGNAL_FIELD_LIST.filter(
      ({ field, kind }) => kind === "text" && field !== "instrument",
    );
    const verdict = verdictOnExactly({
      instrument: "GOLD",
      side: "buy",
      entryPrice: 1,
      signalTime: SIGNAL_TIME,
    });
    expect(verdict).toEqual({
      valid: true,
      signal: {
        instrument: "GOLD",
        side: "buy",
        entryPrice: 1,
        ...Object.fromEntries(texts.map(({ field }) => [field, ""])),
        signalTime: SIGNAL_TIME,
      },
    });
  });

  test("carries no field that a signal does not have", () => {
    const withMore: UncheckedSignal = { ...validSignal(), ...{ producerId: "x", __proto__: null } };
    expect(verdictOnExactly(withMore)).toStrictEqual({ valid: true, signal: validSignal() });
  });

  test("is judged without being changed", () => {
    const frozen = Object.freeze({
      ...validSignal({ payload: Object.freeze({ b: 1, a: -0 }) }),
      confidence: -0,
    });
    const verdict = verdictOnExactly(frozen);
    expect(verdict.valid).toBe(true);
    expect(Object.is(frozen.confidence, -0)).toBe(true);
  });
});

describe("an invalid signal", () => {
  test("is told every wrong field at once, each exactly once", () => {
    const verdict = verdictOnExactly(ALL_WRONG);
    expect(verdict).toMatchObject({ valid: false, reason: "INVALID_SIGNAL" });
    const fields = verdict.valid ? [] : verdict.violations.map((fault) => fault.field);
    expect(fields.toSorted()).toEqual(SignalSchema.fields.map(({ name }) => name).toSorted());
  });

  test("of nothing at all is told every required field", () => {
    expect(verdictOnExactly({})).toEqual({
      valid: false,
      reason: "INVALID_SIGNAL",
      violations: ["instrument", "side", "entry_price", "signal_time"].map((field) => ({
        field,
        description: "is required",
      })),
    });
  });

  test("is told one rule a field, though it breaks several", () => {
    const twice = { entryPrice: Number.NEGATIVE_INFINITY, reason: "\0".repeat(501) };
    const verdict = verdictOn({ ...twice, stopLoss: undefined, takeProfit: undefined });
    expect(verdict).toMatchObject({ valid: false });
    expect(verdict.valid ? 0 : verdict.violations.length).toBe(2);
  });

  test.each(SIGNAL_FIELD_LIST)("is told of $field though all else is right", ({ field, name }) => {
    expect(Object.keys(violationsOf({ [field]: ALL_WRONG[field] }))).toEqual([name]);
  });

  test("is told wrong relations between its right fields though others are wrong", () => {
    const relations = {
      stop_loss: "must be below entry_price for a buy",
      take_profit: "must be above entry_price for a buy",
      expire_time: "must be after signal_time",
    };
    const wrongRelations: UncheckedSignal = {
      side: "buy",
      entryPrice: 10,
      stopLoss: 10,
      takeProfit: 10,
      expireTime: SIGNAL_TIME,
    };
    expect(violationsOf(wrongRelations)).toEqual(relations);
    expect(
      violationsOf({ ...wrongRelations, instrument: "gold", comment: 5, payload: [] }),
    ).toMatchObject(relations);
    expect(Object.keys(violationsOf({ ...wrongRelations, stopLoss: "x" })).toSorted()).toEqual([
      "expire_time",
      "stop_loss",
      "take_profit",
    ]);
  });

  test("is told that its time is ahead though others are wrong", () => {
    expect(violationsOf({ instrument: "gold", signalTime: SIGNAL_TIME * 2n })).toMatchObject({
      signal_time: "must be at most 300 seconds ahead of the server's clock",
    });
  });

  test.each<readonly [string, UncheckedSignal, string[]]>([
    ["the side", { side: "x", stopLoss: 3_000 }, ["side"]],
    ["the entry", { entryPrice: Number.NaN, stopLoss: 3_000 }, ["entry_price"]],
    ["the signal's time", { signalTime: INVALID_TIME, expireTime: 1n }, ["signal_time"]],
  ])("is told no relation to %s where that is what is wrong", (_, overrides, fields) => {
    expect(Object.keys(violationsOf(overrides))).toEqual(fields);
  });

  test("never hears its own values, so that nothing of them reaches a log", () => {
    const verdict = verdictOnExactly(ALL_WRONG);
    const texts = verdict.valid ? "" : JSON.stringify(verdict.violations);
    expect(texts).not.toContain("sentinel");
    const numbers = verdictOn({ entryPrice: -31_337, stopLoss: 31_337e30, confidence: 31_337 });
    expect(JSON.stringify(numbers)).not.toContain("31337");
    const relation = verdictOn({ entryPrice: 31_337, stopLoss: 31_338, takeProfit: 31_336 });
    expect(JSON.stringify(relation)).not.toContain("3133");
  });
});

describe("a payload that is too large", () => {
  const payload = payloadOfBytes(DEFAULT_PAYLOAD_MAX_BYTES + 1);

  test("alone has a reason of its own", () => {
    expect(verdictOn({ payload })).toMatchObject({ valid: false, reason: "PAYLOAD_TOO_LARGE" });
  });

  test.each<readonly [string, UncheckedSignal]>([
    ["a wrong field", { instrument: "gold" }],
    ["a wrong relation", { expireTime: SIGNAL_TIME }],
    ["a missing field", { signalTime: undefined }],
  ])("beside %s is one of the things that are wrong with the signal", (_, overrides) => {
    const verdict = verdictOn({ ...overrides, payload });
    expect(verdict).toMatchObject({ valid: false, reason: "INVALID_SIGNAL" });
    expect(verdict.valid ? [] : verdict.violations).toHaveLength(2);
    expect(violationsOf({ ...overrides, payload })).toMatchObject({
      payload: "must be at most 32768 bytes as compact UTF-8 JSON",
    });
  });

  test("is measured by the limit that this server sets", () => {
    expect(violationsOf({ payload: { a: 1 } }, 7)).toEqual({});
    expect(verdictOn({ payload: { a: 1 } }, 6)).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
    expect(verdictOn({ payload }, 100_000)).toMatchObject({ valid: true });
  });
});
