/**
 * Builders of signals in each of their forms, and arbitraries over all valid signals.
 * What a test does not name is valid, and never expires.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { type IngestRequest, IngestRequestSchema } from "../../gen/signals/v1/ingest_service_pb.ts";
import { SignalSchema } from "../../gen/signals/v1/signal_pb.ts";
import {
  DEFAULT_PAYLOAD_MAX_BYTES,
  type Instant,
  type JsonObject,
  type JsonValue,
  type Signal,
  signalToProto,
  type UncheckedSignal,
} from "../../src/signal/index.ts";
import { formatTimestamp } from "../../src/signing/index.ts";

/** 2025-10-25T14:30:45.123456789Z: when the signals of the builders were decided. */
export const SIGNAL_TIME: Instant = 1_761_402_645_123_456_789n;

/** One nanosecond after 9999-12-31T23:59:59.999999999Z, the last time that there is. */
const END_OF_TIME: Instant = 253_402_300_800_000_000_000n;
const START_OF_TIME: Instant = 946_684_800_000_000_000n;
const NANOS_PER_SECOND = 1_000_000_000n;
const PAYLOAD_DEPTH_MAX = 16;

/** A valid signal to buy gold, with the fields that a test cares about replaced. */
export function validSignal(overrides: Partial<Signal> = {}): Signal {
  return {
    instrument: "GOLD",
    side: "buy",
    entryPrice: 2_650.5,
    stopLoss: 2_640,
    takeProfit: 2_680.25,
    confidence: 0.87,
    riskPercent: 1.5,
    strategyName: "breakout-h1",
    reason: "Close above the range",
    comment: "",
    signalTime: SIGNAL_TIME,
    expireTime: undefined,
    payload: { timeframe: "H1", indicators: { rsi: 61.5 } },
    ...overrides,
  };
}

/** A signal by the names of the contract, its values as people write them in JSON. */
export type Example = Readonly<Record<string, unknown>>;

/** Two signals, each with every field, that differ in each of them. */
export const ONE: Example = {
  instrument: "GOLD",
  side: "buy",
  entry_price: 100,
  stop_loss: 90,
  take_profit: 110,
  confidence: 0.5,
  risk_percent: 1,
  strategy_name: "one",
  reason: "one reason",
  comment: "one comment",
  signal_time: "2025-10-25T14:30:45.123456789Z",
  expire_time: "2999-01-01T00:00:00.000000001Z",
  payload: { a: 1 },
};
export const OTHER: Example = {
  instrument: "SILVER",
  side: "sell",
  entry_price: 101,
  stop_loss: 111,
  take_profit: 91,
  confidence: 0.25,
  risk_percent: 2,
  strategy_name: "another",
  reason: "another reason",
  comment: "another comment",
  signal_time: "2025-10-26T14:30:45.123457790Z",
  expire_time: "2999-01-02T00:00:00.000000002Z",
  payload: { a: 2 },
};

/** The same signal as it comes from outside: any field may hold anything. */
export function uncheckedSignal(overrides: UncheckedSignal = {}): UncheckedSignal {
  return { ...validSignal(), ...overrides };
}

/** A valid request to `Ingest` without a key, with parts of it replaced. */
export function validIngestRequest(
  overrides: Omit<MessageInitShape<typeof IngestRequestSchema>, "$typeName"> = {},
): IngestRequest {
  return create(IngestRequestSchema, { signal: signalToProto(validSignal()), ...overrides });
}

/** The fields of a signal as REST has them, by the names of the contract. */
export function restFields(signal: Signal): Record<string, unknown> {
  const values = SignalSchema.fields.map(({ name, localName }) => {
    const value = signal[localName as keyof Signal];
    return [name, typeof value === "bigint" ? formatTimestamp(value) : value];
  });
  return Object.fromEntries(values);
}

/** A valid signal as a REST body, with parts of it replaced; `undefined` leaves one out. */
export function restBody(overrides: Readonly<Record<string, unknown>> = {}): string {
  const { signal_time: timestamp, comment, ...fields } = restFields(validSignal());
  return JSON.stringify({ ...fields, timestamp, ...overrides });
}

/** What bounds the signals of {@link arbitrarySignal}. */
export interface ArbitrarySignalOptions {
  /** The clock of whoever will judge them. */
  readonly now: Instant;
  /** Whether each that expires does so after `now`; unless told, many are long past. */
  readonly isUnexpired?: boolean;
  /** The greatest payload, in bytes of compact UTF-8 JSON. */
  readonly payloadMaxBytes?: number;
}

/** Any valid signal, out to the bounds of every rule. */
export function arbitrarySignal(options: ArbitrarySignalOptions): fc.Arbitrary<Signal> {
  const { now, isUnexpired = false, payloadMaxBytes = DEFAULT_PAYLOAD_MAX_BYTES } = options;
  return fc
    .record({
      instrument: fc.stringMatching(/^[A-Z0-9._-]{2,20}$/),
      prices: arbitraryPrices(),
      confidence: optional(oneOf([0, 1, 5e-324], fc.double({ min: 0, max: 1, noNaN: true }))),
      riskPercent: optional(
        oneOf([100, 5e-324], fc.double({ min: 5e-324, max: 100, noNaN: true })),
      ),
      strategyName: arbitraryText(64, ""),
      reason: arbitraryText(500, "\t\n"),
      comment: arbitraryText(500, "\t\n"),
      times: arbitraryTimes(now, isUnexpired),
      payload: optional(arbitraryPayload(payloadMaxBytes)),
    })
    .map(({ prices, times, ...others }) => ({ ...others, ...prices, ...times }));
}

/** Any valid payload: JSON with the keys, texts and numbers that break careless code. */
export function arbitraryPayload(maxBytes = DEFAULT_PAYLOAD_MAX_BYTES): fc.Arbitrary<JsonObject> {
  const leaf: fc.Arbitrary<JsonValue> = fc.oneof(
    fc.constantFrom(null, true, false),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(0, -0, 5e-324, -5e-324, 1e308, -1e308, 2 ** 53 + 2, 0.1 + 0.2),
    payloadText(),
  );
  const { object } = fc.letrec<{ value: JsonValue; object: JsonObject; array: JsonValue[] }>(
    (tie) => ({
      value: fc.oneof(
        { maxDepth: 5, withCrossShrink: true },
        leaf,
        tie("object"),
        tie("array"),
        fc.constantFrom<JsonValue>({}, []),
      ),
      object: fc
        .array(fc.tuple(payloadKey(), tie("value")), { maxLength: 5 })
        // Object.fromEntries defines keys, so that even "__proto__" stays a key.
        .map((entries) => Object.fromEntries(entries)),
      array: fc.array(tie("value"), { maxLength: 4 }),
    }),
  );
  return fc
    .oneof(
      { weight: 6, arbitrary: object },
      { weight: 1, arbitrary: fc.constant<JsonObject>({}) },
      { weight: 1, arbitrary: leaf.map((value) => nested(PAYLOAD_DEPTH_MAX, value)) },
      { weight: 1, arbitrary: payloadText().map((text) => payloadOfBytes(maxBytes, text)) },
    )
    .filter(
      (payload) => payloadBytes(payload) <= maxBytes && depthOf(payload) <= PAYLOAD_DEPTH_MAX,
    );
}

/** A payload of exactly `bytes` bytes as compact UTF-8 JSON, padded after `text`. */
export function payloadOfBytes(bytes: number, text = ""): JsonObject {
  const missing = bytes - payloadBytes({ pad: text });
  return { pad: text + "x".repeat(Math.max(0, missing)) };
}

/** A payload of `depth` levels, objects and arrays in turn, around a value. */
export function nested(depth: number, value: JsonValue = null): JsonObject {
  let inner: JsonValue = depth % 2 === 0 ? [value] : { a: value };
  for (let level = depth - 1; level >= 1; level--) inner = level % 2 === 0 ? [inner] : { a: inner };
  return inner as JsonObject;
}

function payloadBytes(payload: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(payload));
}

function depthOf(value: JsonValue): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** Entry, stop and target in the order that the side demands. */
function arbitraryPrices() {
  const price = oneOf(
    [5e-324, 1e12, 1, 2.2250738585072014e-308],
    fc.double({
      min: 5e-324,
      max: 1e12,
      noNaN: true,
    }),
  );
  return fc
    .record({
      ascending: fc.uniqueArray(price, { minLength: 3, maxLength: 3 }),
      side: fc.constantFrom<Signal["side"]>("buy", "sell"),
      entryPlace: fc.constantFrom(0, 1, 2),
      hasLower: fc.boolean(),
      hasHigher: fc.boolean(),
    })
    .map(({ ascending, side, entryPlace, hasLower, hasHigher }) => {
      ascending.sort((a, b) => a - b);
      const lower = hasLower ? ascending[entryPlace - 1] : undefined;
      const higher = hasHigher ? ascending[entryPlace + 1] : undefined;
      return {
        side,
        entryPrice: ascending[entryPlace] as number,
        stopLoss: side === "buy" ? lower : higher,
        takeProfit: side === "buy" ? higher : lower,
      };
    });
}

function arbitraryTimes(now: Instant, isUnexpired: boolean) {
  const latest = now + 300n * NANOS_PER_SECOND;
  return oneOf(
    [START_OF_TIME, START_OF_TIME + 1n, now, latest],
    fc.bigInt({ min: START_OF_TIME, max: latest }),
  ).chain((signalTime) => {
    const earliest = 1n + (isUnexpired && now > signalTime ? now : signalTime);
    return fc.record({
      signalTime: fc.constant(signalTime),
      expireTime: optional(
        oneOf(
          [earliest, END_OF_TIME - 1n],
          fc.bigInt({ min: earliest, max: earliest + 3_600n * NANOS_PER_SECOND }),
          fc.bigInt({ min: earliest, max: END_OF_TIME - 1n }),
        ),
      ),
    });
  });
}

/** Text of up to `maxLength` code points, often just that long, astral ones among them. */
function arbitraryText(maxLength: number, alsoAllowed: string): fc.Arbitrary<string> {
  const units = [codePoint(0x20, 0x7e), codePoint(0xa0, 0xd7ff), codePoint(0xe000, 0x10ffff)];
  if (alsoAllowed !== "") units.push(fc.constantFrom(...alsoAllowed));
  const unit = fc.oneof(...units);
  return fc.oneof(
    { weight: 4, arbitrary: fc.string({ unit, maxLength: Math.min(maxLength, 30) }) },
    { weight: 1, arbitrary: fc.constant("") },
    { weight: 1, arbitrary: fc.string({ unit, minLength: maxLength, maxLength }) },
    { weight: 1, arbitrary: codePoint(0x10000, 0x10ffff).map((c) => c.repeat(maxLength)) },
  );
}

/** In a payload all characters are allowed but NUL and unpaired surrogates. */
function payloadText(): fc.Arbitrary<string> {
  const unit = fc.oneof(
    codePoint(0x01, 0xff),
    codePoint(0x100, 0xd7ff),
    codePoint(0xe000, 0x10ffff),
  );
  return fc.string({ unit, maxLength: 20 });
}

function payloadKey(): fc.Arbitrary<string> {
  return fc.oneof(
    payloadText(),
    fc.constantFrom("__proto__", "constructor", "toString", "toJSON", "", "0", "10", "9", "a"),
  );
}

function codePoint(min: number, max: number): fc.Arbitrary<string> {
  return fc.integer({ min, max }).map((point) => String.fromCodePoint(point));
}

function optional<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined });
}

/** Often one of the given values, otherwise one of the arbitraries'. */
function oneOf<T>(constants: readonly T[], ...others: fc.Arbitrary<T>[]): fc.Arbitrary<T> {
  return fc.oneof(fc.constantFrom(...constants), ...others);
}
