import { create, fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Side, SignalSchema, SignalStatus } from "../../gen/signals/v1/signal_pb.ts";
import {
  type SignalStatus as DomainStatus,
  INVALID_TIME,
  instantToProto,
  type JsonObject,
  type Signal,
  signalFromProto,
  signalToProto,
  statusToProto,
} from "../../src/signal/index.ts";
import { arbitraryPayload, arbitrarySignal, SIGNAL_TIME, validSignal } from "../support/signals.ts";
import { NOW } from "./judge.ts";
import { withReversedKeys } from "./keyOrder.ts";

const signals = arbitrarySignal({ now: NOW });
const SECOND = 1_000_000_000n;

function bytesOf(signal: Signal): string {
  return Buffer.from(toBinary(SignalSchema, signalToProto(signal))).toString("hex");
}

function jsonOf(signal: Signal): string {
  return toJsonString(SignalSchema, signalToProto(signal));
}

/** A payload as JSON carries it: without -0. */
function asJson(payload: JsonObject | undefined): JsonObject | undefined {
  return payload && JSON.parse(JSON.stringify(payload));
}

describe("a signal", () => {
  test("survives the way through protobuf bytes", () => {
    fc.assert(
      fc.property(signals, (signal) => {
        const decoded = fromBinary(SignalSchema, toBinary(SignalSchema, signalToProto(signal)));
        const expected = { ...signal, payload: asJson(signal.payload) };
        expect(signalFromProto(decoded)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("survives the way through protobuf's JSON", () => {
    fc.assert(
      fc.property(signals, (signal) => {
        const expected = { ...signal, payload: asJson(signal.payload) };
        expect(signalFromProto(fromJsonString(SignalSchema, jsonOf(signal)))).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("survives with the keys that careless code loses", () => {
    const payload: JsonObject = JSON.parse(
      '{"__proto__":{"__proto__":5,"a":[{"__proto__":null}]},"constructor":{},"":[],"10":1,"9":2}',
    );
    const decoded = fromBinary(
      SignalSchema,
      toBinary(SignalSchema, signalToProto(validSignal({ payload }))),
    );
    expect(Object.keys(decoded.payload ?? {}).toSorted()).toEqual(Object.keys(payload).toSorted());
    expect(JSON.stringify(new Map(Object.entries(decoded.payload ?? {})).get("__proto__"))).toBe(
      '{"__proto__":5,"a":[{"__proto__":null}]}',
    );
    expect(Object.getPrototypeOf(decoded.payload)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).a).toBeUndefined();
  });

  test("gives the same bytes whatever the order of its payload's keys", () => {
    fc.assert(
      fc.property(arbitraryPayload(), (payload) => {
        const other = withReversedKeys(payload);
        expect(bytesOf(validSignal({ payload: other }))).toBe(bytesOf(validSignal({ payload })));
        expect(jsonOf(validSignal({ payload: other }))).toBe(jsonOf(validSignal({ payload })));
      }),
      { numRuns: 300 },
    );
  });

  test("gives the same bytes for 0 and -0 in its payload", () => {
    const withZero = (zero: number) =>
      validSignal({ payload: { a: zero, b: [zero, { c: zero }] } });
    expect(bytesOf(withZero(-0))).toBe(bytesOf(withZero(0)));
  });

  test("is not changed by making its message", () => {
    const payload: JsonObject = { b: { z: -0, a: 1 }, a: [{ y: 1, x: 2 }] };
    const before = JSON.stringify(payload);
    const message = signalToProto(validSignal({ payload }));
    expect(JSON.stringify(payload)).toBe(before);
    expect(message.payload).not.toBe(payload);
  });

  test("has in its message no field that it lacks", () => {
    const message = signalToProto(
      validSignal({
        stopLoss: undefined,
        takeProfit: undefined,
        confidence: undefined,
        riskPercent: undefined,
        expireTime: undefined,
        payload: undefined,
      }),
    );
    expect(JSON.parse(toJsonString(SignalSchema, message))).toEqual({
      instrument: "GOLD",
      side: "SIDE_BUY",
      entryPrice: 2650.5,
      strategyName: "breakout-h1",
      reason: "Close above the range",
      signalTime: "2025-10-25T14:30:45.123456789Z",
    });
  });
});

describe("a message", () => {
  test("of nothing is a signal of nothing", () => {
    expect(signalFromProto(create(SignalSchema))).toMatchObject({
      instrument: "",
      side: undefined,
      entryPrice: 0,
      strategyName: "",
      reason: "",
      comment: "",
    });
  });

  test.each([
    [Side.BUY, "buy"],
    [Side.SELL, "sell"],
    [Side.UNSPECIFIED, undefined],
    [3 as Side, undefined],
    [-1 as Side, undefined],
  ])("with side %i is of side %s", (side, expected) => {
    expect(signalFromProto(create(SignalSchema, { side })).side).toBe(expected);
  });

  test.each([
    [0n, 0, 0n],
    [1n, 999_999_999, 1_999_999_999n],
    [-1n, 999_999_999, -1n],
    [253_402_300_799n, 999_999_999, 253_402_300_799_999_999_999n],
    [2n ** 63n - 1n, 0, (2n ** 63n - 1n) * SECOND],
    [-(2n ** 63n), 0, -(2n ** 63n) * SECOND],
    [1n, -1, INVALID_TIME],
    [1n, 1_000_000_000, INVALID_TIME],
    [1n, 2_147_483_647, INVALID_TIME],
    [1n, -2_147_483_648, INVALID_TIME],
  ])("with %i s and %i ns has the time %s", (seconds, nanos, expected) => {
    const time = create(TimestampSchema, { seconds, nanos });
    const message = create(SignalSchema, { signalTime: time, expireTime: time });
    expect(signalFromProto(message)).toMatchObject({ signalTime: expected, expireTime: expected });
  });
});

describe("instantToProto", () => {
  test.each([
    [0n, 0n, 0],
    [1n, 0n, 1],
    [SECOND - 1n, 0n, 999_999_999],
    [SECOND, 1n, 0],
    [-1n, -1n, 999_999_999],
    [-SECOND, -1n, 0],
    [-SECOND - 1n, -2n, 999_999_999],
    [SIGNAL_TIME, 1_761_402_645n, 123_456_789],
  ])("of %i ns is %i s and %i ns", (instant, seconds, nanos) => {
    expect(instantToProto(instant)).toMatchObject({ seconds, nanos });
  });
});

test.each<readonly [DomainStatus, SignalStatus]>([
  ["received", SignalStatus.RECEIVED],
  ["pending_approval", SignalStatus.PENDING_APPROVAL],
  ["approved", SignalStatus.APPROVED],
  ["rejected", SignalStatus.REJECTED],
  ["expired", SignalStatus.EXPIRED],
])("the status %s is number %i of the contract", (status, expected) => {
  expect(statusToProto(status)).toBe(expected);
});
