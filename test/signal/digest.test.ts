import { fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import {
  contentSha256,
  DEFAULT_PAYLOAD_MAX_BYTES,
  type JsonObject,
  type Signal,
  signalFromProto,
  signalToProto,
  type UncheckedSignal,
  validateSignal,
} from "../../src/signal/index.ts";
import { arbitrarySignal, SIGNAL_TIME, validSignal } from "../support/signals.ts";
import { NOW } from "./judge.ts";
import { withReversedKeys, withSortedKeys } from "./keyOrder.ts";

const signals = arbitrarySignal({ now: NOW });

function hexDigest(signal: Signal): string {
  return contentSha256(signal).toString("hex");
}

/** The digest that the server computes of what it decoded. */
function digestOnArrival(signal: UncheckedSignal): string {
  const limits = { now: NOW, payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES };
  const verdict = validateSignal(signal, limits);
  if (!verdict.valid) expect.fail(JSON.stringify(verdict.violations));
  return hexDigest(verdict.signal);
}

describe("contentSha256", () => {
  // The expected digests come from Python:
  // hashlib.sha256(json.dumps(…, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
  test.each<readonly [string, Signal, string]>([
    [
      "the required fields only",
      validSignal({
        stopLoss: undefined,
        takeProfit: undefined,
        confidence: undefined,
        riskPercent: undefined,
        strategyName: "",
        reason: "",
        payload: undefined,
      }),
      "fae6ad0cba4c4389940cf3735671daad4896b2837676640ee3a33c0180a03283",
    ],
    [
      "every field",
      validSignal({
        instrument: "EURUSD",
        side: "sell",
        entryPrice: 1.0845,
        stopLoss: 1.09,
        takeProfit: 1.07,
        confidence: 0.5,
        riskPercent: 2.25,
        strategyName: "Zürich \u{1f4c8}",
        reason: "line one\n\tline two",
        comment: '"quoted" \\ and \u2028',
        signalTime: 946_684_800_000_000_000n,
        expireTime: 253_402_300_799_999_999_999n,
        payload: JSON.parse(
          '{"b":[1,"two",null,true,{"nested":{}}],"a":{"z":-0.125,"__proto__":"kept"},"10":1,"9":2}',
        ),
      }),
      "c63e2504fc33094efbc4518cdb17906278af9e2651117cca55cd1de1f3ca8b48",
    ],
  ])("of %s is that of another program", (_, signal, expected) => {
    expect(hexDigest(signal)).toBe(expected);
  });

  test("does not depend on the order of keys", () => {
    fc.assert(
      fc.property(signals, (signal) => {
        const payload = signal.payload && withReversedKeys(signal.payload);
        expect(hexDigest({ ...signal, payload })).toBe(hexDigest(signal));
        const fields = Object.entries(signal).reverse();
        expect(hexDigest(Object.fromEntries(fields) as unknown as Signal)).toBe(hexDigest(signal));
      }),
    );
  });

  test("is the same for 0 and -0, which JSON cannot tell apart", () => {
    const digest = (zero: number) => hexDigest(validSignal({ payload: { a: [zero] } }));
    expect(digest(-0)).toBe(digest(0));
  });

  test.each(["strategyName", "reason", "comment"] as const)(
    "is the same whether %s is absent or empty",
    (field) => {
      const { [field]: _, ...absent } = validSignal();
      expect(digestOnArrival(absent)).toBe(digestOnArrival({ ...absent, [field]: "" }));
    },
  );

  test("changes with any field of any signal", () => {
    fc.assert(
      fc.property(signals, signals, (one, other) => {
        for (const field of Object.keys(one) as (keyof Signal)[]) {
          const mixed: Signal = { ...one, [field]: other[field] };
          const isSame = canonicalText(one[field]) === canonicalText(other[field]);
          expect(hexDigest(mixed) === hexDigest(one), field).toBe(isSame);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("tells apart what is nearly the same", () => {
    const near: Signal[] = [
      validSignal(),
      validSignal({ entryPrice: 2_650.5000000000005 }),
      validSignal({ side: "sell" }),
      validSignal({ stopLoss: undefined }),
      validSignal({ stopLoss: 2_680.25, takeProfit: 2_640 }),
      validSignal({ confidence: undefined }),
      validSignal({ confidence: 0 }),
      validSignal({ confidence: undefined, riskPercent: 0.87 }),
      validSignal({ reason: "", comment: "Close above the range" }),
      validSignal({ reason: "Close above the range " }),
      validSignal({ reason: "Close above the range\u0301" }),
      validSignal({ strategyName: "caf\u00e9" }),
      validSignal({ strategyName: "cafe\u0301" }),
      validSignal({ signalTime: SIGNAL_TIME + 1n }),
      validSignal({ expireTime: SIGNAL_TIME + 1n }),
      validSignal({ expireTime: SIGNAL_TIME + 2n }),
      validSignal({ payload: undefined }),
      ...[{}, { a: null }, { a: [] }, { a: {} }, { a: "" }, { a: 0 }, { a: "0" }, { a: false }].map(
        (payload: JsonObject) => validSignal({ payload }),
      ),
      validSignal({ payload: JSON.parse('{"__proto__":{}}') }),
      validSignal({ payload: JSON.parse('{"__proto__":{"a":1}}') }),
      validSignal({ payload: { toJSON: "a" } }),
      validSignal({ payload: { list: [1, 2] } }),
      validSignal({ payload: { list: [2, 1] } }),
    ];
    expect(new Set(near.map(hexDigest)).size).toBe(near.length);
  });

  test("is the same whatever protocol the signal came by", () => {
    fc.assert(
      fc.property(signals, (signal) => {
        const message = signalToProto(signal);
        const binary = fromBinary(SignalSchema, toBinary(SignalSchema, message));
        const json = fromJsonString(SignalSchema, toJsonString(SignalSchema, message));
        const expected = hexDigest(signal);
        expect(digestOnArrival(signalFromProto(binary))).toBe(expected);
        expect(digestOnArrival(signalFromProto(json))).toBe(expected);
        const stored = signal.payload && JSON.parse(JSON.stringify(signal.payload));
        expect(hexDigest({ ...signal, payload: stored })).toBe(expected);
      }),
      { numRuns: 300 },
    );
  });
});

/** Equal exactly for fields that mean the same. */
function canonicalText(value: Signal[keyof Signal]): string {
  if (typeof value === "bigint") return value.toString();
  const canonical = typeof value === "object" ? withSortedKeys(value) : value;
  return JSON.stringify(canonical) ?? "absent";
}
