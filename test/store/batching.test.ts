/** Batches on a real database: one signal that it refuses costs its neighbours nothing. */
import { expect, test, vi } from "vitest";
import {
  type Batcher,
  createBatcher,
  SignalRejectedError,
  type SignalStore,
  StoreUnavailableError,
} from "../../src/ingest/index.ts";
import { createSignalStore } from "../../src/store/index.ts";
import { aCandidate, aSignal, NOW } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 5_000;
const BATCH_SIZE = 50;

const database = await openTestDatabase(2);
const store = createSignalStore(database);

/** A batcher on the real store and real timers. */
function openBatcher(
  onBatch: (size: number) => void,
  onFailure: (error: unknown) => void,
): Batcher {
  const counted: SignalStore = {
    ingest(candidates, timeoutMs) {
      onBatch(candidates.length);
      return store.ingest(candidates, timeoutMs);
    },
  };
  return createBatcher({
    store: counted,
    clock: { now: () => NOW, monotonicMs: () => performance.now() },
    timers: {
      after(milliseconds, callback) {
        const timer = setTimeout(callback, milliseconds);
        return () => clearTimeout(timer);
      },
      soon: (callback) => void setImmediate(callback),
    },
    maxBatchSize: BATCH_SIZE,
    maxBatchesInFlight: 2,
    maxQueued: 1_000,
    storeTimeoutMs: TIMEOUT_MS,
    onStoreFailure: onFailure,
  });
}

test("a signal of 50 that breaks a rule of the table fails alone", async () => {
  const place = 27;
  const batchSizes: number[] = [];
  const onFailure = vi.fn<(error: unknown) => void>();
  const batcher = openBatcher((size) => batchSizes.push(size), onFailure);
  const candidates = Array.from({ length: BATCH_SIZE }, (_, index) =>
    // The rules of the domain let no such price pass: only the table's own check is left.
    aCandidate({}, aSignal(index === place ? { entryPrice: -1 } : {})),
  );
  const deadlineMs = performance.now() + TIMEOUT_MS;
  const calls = candidates.map((candidate) => batcher.store([candidate], deadlineMs));
  const outcomes = (await Promise.all(calls)).flat();
  await batcher.close();

  expect(outcomes).toMatchObject(
    candidates.map(({ signalId }, index) =>
      index === place
        ? { kind: "refused", refusal: { reason: "INTERNAL" } }
        : { kind: "stored", signalId },
    ),
  );
  expect(onFailure.mock.calls).toEqual([[expect.any(SignalRejectedError)]]);
  expect(batchSizes[0]).toBe(BATCH_SIZE);
  expect(batchSizes.length).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(BATCH_SIZE)));

  const found = await Promise.all(candidates.map(({ signalId }) => store.findSignal(signalId)));
  expect(found.map((signal) => signal !== undefined)).toEqual(
    candidates.map((_, index) => index !== place),
  );
});

/** What storing one signal throws. */
function failureOf(parts: Parameters<typeof aSignal>[0]): Promise<unknown> {
  const attempt = store.ingest([aCandidate({}, aSignal(parts))], TIMEOUT_MS);
  return attempt.then(
    () => expect.fail("was stored"),
    (error: unknown) => error,
  );
}

test.each([
  ["a character that the database cannot hold", { payload: { text: "\0" } }],
  ["a text that the database cannot hold", { comment: "a\0b" }],
  ["a price outside of the rules", { entryPrice: 0 }],
])("%s is the signal's own fault", async (_, parts) => {
  expect(await failureOf(parts)).toBeInstanceOf(SignalRejectedError);
});

test("a missing table is not the signal's fault, and nothing is sent again", async () => {
  const rename = (from: string, to: string) =>
    database.query(TIMEOUT_MS, (sql) => sql.unsafe(`ALTER TABLE ${from} RENAME TO ${to}`));
  await rename("signals", "signals_away");
  try {
    expect(await failureOf({})).toBeInstanceOf(StoreUnavailableError);
  } finally {
    await rename("signals_away", "signals");
  }
});
