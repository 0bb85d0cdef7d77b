import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject, Signal } from "../../src/signal/index.ts";
import { createSignalStore } from "../../src/store/index.ts";
import { aCandidate, aSignal } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 5_000;

const database = await openTestDatabase(2);
const store = createSignalStore(database);

async function storeAndFind(signal: Signal): Promise<Signal | undefined> {
  const candidate = aCandidate({ receiveTime: signal.signalTime }, signal);
  await store.ingest([candidate], TIMEOUT_MS);
  return (await store.findSignal(candidate.signalId))?.signal;
}

const YEAR_2000 = 946_684_800_000_000_000n;
const END_OF_9999 = 253_402_300_799_999_999_999n;

/** Any code point but NUL, which neither a signal nor PostgreSQL allows. */
const text = (maxLength: number) =>
  fc.string({ unit: "binary", maxLength }).map((value) => value.replaceAll("\0", ""));

const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  fc.constantFrom(1e308, -1e308, 5e-324, Number.MAX_SAFE_INTEGER, 0.1, 1e-7, 1e21),
);

const key = fc.oneof(text(10), fc.constantFrom("__proto__", "constructor", "", "0", "1", "a b"));

const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false),
    number,
    text(20),
    fc.array(tie("json"), { maxLength: 4 }),
    fc.dictionary(key, tie("json"), { maxKeys: 4 }),
  ),
}));

// Parsing gives what a decoder gives: plain objects, with "__proto__" as a property.
const payload = fc
  .dictionary(key, json, { maxKeys: 5 })
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));

const prices = fc
  .uniqueArray(fc.double({ min: 5e-324, max: 1e12, noNaN: true }), { minLength: 3, maxLength: 3 })
  .map((values) => values.toSorted((a, b) => a - b));

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

const signals: fc.Arbitrary<Signal> = fc
  .record({
    prices,
    isBuy: fc.boolean(),
    hasStop: fc.boolean(),
    hasTarget: fc.boolean(),
    times: fc.uniqueArray(fc.bigInt({ min: YEAR_2000, max: END_OF_9999 }), {
      minLength: 2,
      maxLength: 2,
    }),
    hasExpireTime: fc.boolean(),
    instrument: fc.stringMatching(/^[A-Z0-9._-]{2,20}$/),
    confidence: optional(fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value + 0)),
    riskPercent: optional(fc.double({ min: 5e-324, max: 100, noNaN: true })),
    strategyName: text(64),
    reason: text(500),
    comment: text(500),
    payload: optional(payload),
  })
  .map(({ prices, isBuy, hasStop, hasTarget, times, hasExpireTime, ...rest }) => {
    const [low = 1, middle = 2, high = 3] = prices;
    const [earlier = 0n, later = 0n] = times.toSorted((a, b) => (a < b ? -1 : 1));
    return {
      ...rest,
      side: isBuy ? ("buy" as const) : ("sell" as const),
      entryPrice: middle,
      stopLoss: hasStop ? (isBuy ? low : high) : undefined,
      takeProfit: hasTarget ? (isBuy ? high : low) : undefined,
      signalTime: earlier,
      expireTime: hasExpireTime ? later : undefined,
    };
  });

test("every valid signal comes back as it was, to the nanosecond, whatever its batch holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(signals, { minLength: 1, maxLength: 20 }), async (batch) => {
      const candidates = batch.map((signal) =>
        aCandidate({ receiveTime: signal.signalTime }, signal),
      );
      await store.ingest(candidates, TIMEOUT_MS);
      for (const candidate of candidates) {
        const found = await store.findSignal(candidate.signalId);
        expect(isDeepStrictEqual(found?.signal, candidate.signal)).toBe(true);
      }
    }),
    { numRuns: 40 },
  );
});

test.each<[string, string]>([
  ["an empty object", "{}"],
  ["the largest and smallest numbers", '{"a":1e308,"b":5e-324,"c":-1.7976931348623157e308}'],
  [
    "keys that JavaScript treats in its own way",
    '{"__proto__":{"x":1},"constructor":2,"10":3,"9":4}',
  ],
  ["sixteen levels", `${'{"a":'.repeat(15)}{}${"}".repeat(15)}`],
  ["what PostgreSQL's arrays escape", '{"a":"\\"{},\\\\NULL","b":"NULL","c":""}'],
  ["characters beyond the first plane", '{"😀":"𝒳\u2028"}'],
])("keeps a payload with %s", async (_, json) => {
  const signal = aSignal({ payload: JSON.parse(json) });
  expect(isDeepStrictEqual(await storeAndFind(signal), signal)).toBe(true);
});

test("stores −0 in a payload as 0, which is its normal form", async () => {
  const found = await storeAndFind(aSignal({ payload: { a: -0 } }));
  expect(Object.is(found?.payload?.a, 0)).toBe(true);
});
