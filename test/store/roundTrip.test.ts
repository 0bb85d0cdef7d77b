import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Signal } from "../../src/signal/index.ts";
import { createSignalStore } from "../../src/store/index.ts";
import { arbitrarySignal } from "../support/signals.ts";
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

/** The last day of the year 9999, so that signals of all times are valid. */
const LAST_DAY = 253_402_214_400_000_000_000n;

/** Any valid signal, its payload as a decoder gives it: parsed, and so without -0. */
const signals: fc.Arbitrary<Signal> = arbitrarySignal({ now: LAST_DAY }).map((signal) => ({
  ...signal,
  payload: signal.payload && JSON.parse(JSON.stringify(signal.payload)),
}));

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
