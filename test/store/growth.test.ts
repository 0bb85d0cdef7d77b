import { expect, test } from "vitest";
import {
  createSignalStore,
  type Database,
  type PostgresSignalStore,
} from "../../src/store/index.ts";
import { aCandidate, aSignature } from "./builders.ts";
import { openTestDatabase } from "./openTestDatabase.ts";

const TIMEOUT_MS = 20_000;
const BATCH_SIZE = 100;

/** Ingests new signals and retries, of keys that are signed and that are not. */
async function ingestOneRound(store: PostgresSignalStore): Promise<void> {
  const signed = Array.from({ length: BATCH_SIZE }, () => aCandidate());
  const unsigned = signed.map(() => aCandidate({ requestSignature: aSignature() }));
  const retries = unsigned.map(({ idempotencyKey }) =>
    aCandidate({ idempotencyKey, requestSignature: aSignature() }),
  );
  for (const batch of [signed, unsigned, retries, signed]) {
    await store.ingest(batch, TIMEOUT_MS);
  }
}

/** The rows that statements have looked at in the tables of signals so far. */
async function countRowsRead(database: Database): Promise<number> {
  // A connection reports what it did from time to time, or when it is told to.
  await database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_stat_force_next_flush()`);
  const [row] = await database.query<{ rows_read: number }>(
    TIMEOUT_MS,
    (sql) => sql`
      SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::float8 AS rows_read
      FROM pg_stat_user_tables WHERE relname IN ('signals', 'request_signatures')
    `,
  );
  return row?.rows_read ?? Number.NaN;
}

const database = await openTestDatabase(1);

test("what a signal costs does not grow with the table, even before its first statistics", async () => {
  const store = createSignalStore(database);
  for (let round = 0; round < 6; round += 1) {
    await ingestOneRound(store);
  }
  const before = await countRowsRead(database);
  for (let round = 0; round < 6; round += 1) {
    await ingestOneRound(store);
  }
  const rowsReadPerSignal = ((await countRowsRead(database)) - before) / (6 * 4 * BATCH_SIZE);
  expect(rowsReadPerSignal).toBeGreaterThan(0.5);
  expect(rowsReadPerSignal).toBeLessThan(6);
});
