import { randomUUIDv7 } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SignalCandidate } from "../../src/ingest/store.ts";
import {
  createSignalStore,
  type Database,
  openDatabase,
  type PostgresSignalStore,
} from "../../src/store/index.ts";
import { createTestDatabase, silentLog, type TestDatabase } from "../support/postgres.ts";
import { aCandidate, aSignature } from "./builders.ts";

const TIMEOUT_MS = 20_000;

let testDatabase: TestDatabase;
/** Several pools, as several server processes have. */
let databases: Database[];
let stores: PostgresSignalStore[];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  databases = Array.from({ length: 4 }, () =>
    openDatabase({ url: testDatabase.url, poolSize: 5, log: silentLog }),
  );
  stores = databases.map(createSignalStore);
});

afterAll(async () => {
  await Promise.all(databases.map((database) => database.close()));
  await testDatabase.drop();
});

/** Ingests each batch at the same time, in turns over the pools. */
function ingestAtOnce(batches: readonly SignalCandidate[][]) {
  return Promise.all(
    batches.map((batch, index) => {
      const store = stores[index % stores.length];
      if (store === undefined) {
        throw new Error("There is no store");
      }
      return store.ingest(batch, TIMEOUT_MS);
    }),
  );
}

test.each([
  ["one key", () => ({ idempotencyKey: randomUUIDv7() })],
  ["one signature", () => ({ requestSignature: aSignature() })],
])("1,000 concurrent signals with %s make one row", async (_, makeIdentity) => {
  const identity = makeIdentity();
  const producerId = `bot-${randomUUIDv7()}`;
  const outcomes = await ingestAtOnce(
    Array.from({ length: 1_000 }, () => [aCandidate({ producerId, ...identity })]),
  );
  const answers = outcomes.flat();
  expect(answers.filter((outcome) => outcome.kind === "stored")).toHaveLength(1);
  expect(answers.filter((outcome) => outcome.kind === "duplicate")).toHaveLength(999);
  expect(new Set(answers.map((answer) => "signalId" in answer && answer.signalId)).size).toBe(1);

  const rows = await databases[0]?.query(
    TIMEOUT_MS,
    (sql) => sql`SELECT 1 FROM signals WHERE producer_id = ${producerId}`,
  );
  expect(rows).toHaveLength(1);
});

test("batches that share keys in opposite orders do not deadlock", async () => {
  const keys = Array.from({ length: 50 }, () => randomUUIDv7());
  const batches = Array.from({ length: 40 }, (_, index) => {
    const order = index % 2 === 0 ? keys : keys.toReversed();
    return order.map((idempotencyKey) => aCandidate({ idempotencyKey }));
  });
  const outcomes = (await ingestAtOnce(batches)).flat();
  expect(outcomes.filter((outcome) => outcome.kind === "stored")).toHaveLength(keys.length);
  expect(outcomes.filter((outcome) => outcome.kind === "duplicate")).toHaveLength(39 * 50);
});

test("a reader that follows the sequence misses nothing that concurrent writers store", async () => {
  const reader = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  const readerStore = createSignalStore(reader);
  const beginning = (await readerStore.listSignals({ afterSequence: 0n, limit: 100_000 })).at(-1);
  let afterSequence = beginning?.sequence ?? 0n;
  const seen: string[] = [];
  const readOn = async () => {
    const page = await readerStore.listSignals({ afterSequence, limit: 100_000 });
    seen.push(...page.map((signal) => signal.signalId));
    afterSequence = page.at(-1)?.sequence ?? afterSequence;
  };

  // Batches of unlike sizes take unlike times from their first number to their commit.
  const batches = Array.from({ length: 200 }, (_, index) =>
    Array.from({ length: index % 10 === 0 ? 150 : 1 }, () => aCandidate()),
  );
  let isWriting = true;
  const writing = ingestAtOnce(batches).finally(() => {
    isWriting = false;
  });
  while (isWriting) {
    await readOn();
  }
  await writing;
  await readOn();

  const written = batches.flat().map((candidate) => candidate.signalId);
  expect(seen).toHaveLength(written.length);
  expect(new Set(seen)).toEqual(new Set(written));
  await reader.close();
});
