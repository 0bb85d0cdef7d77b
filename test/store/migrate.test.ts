import { afterEach, beforeEach, expect, test } from "vitest";
import {
  createSignalStore,
  type Database,
  migrateDown,
  migrateUp,
  migrationStatus,
  NewerDatabaseError,
  openDatabase,
} from "../../src/store/index.ts";
import { createTestDatabase, silentLog, type TestDatabase } from "../support/postgres.ts";
import { aCandidate } from "./builders.ts";

const TIMEOUT_MS = 10_000;
const ALL = ["0001_producers", "0002_signals", "0003_ingest_signals"];

let testDatabase: TestDatabase;
let database: Database;

beforeEach(async () => {
  testDatabase = await createTestDatabase("empty");
  database = openDatabase({ url: testDatabase.url, poolSize: 2, log: silentLog });
});

afterEach(async () => {
  await database.close();
  await testDatabase.drop();
});

async function appliedNames(): Promise<string[]> {
  const states = await migrationStatus(database);
  return states.flatMap((state) => (state.appliedAt ? [state.name] : []));
}

/** What the schema holds, but for the migrations' own table. */
async function readSchema(): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    TIMEOUT_MS,
    (sql) => sql`
      SELECT relkind::text || ' ' || relname AS name FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema_migrations%'
      UNION ALL
      SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      ORDER BY 1
    `,
  );
  return rows.map((row) => row.name);
}

test("the status of an empty database lists every migration as pending and changes nothing", async () => {
  const states = await migrationStatus(database);
  expect(states).toEqual(ALL.map((name) => ({ name, appliedAt: undefined })));
  const tables = await database.query(
    TIMEOUT_MS,
    (sql) => sql`SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
  );
  expect(tables).toEqual([]);
});

test("up, all the way down, and up again give the same schema", async () => {
  expect(await migrateUp(database, silentLog)).toEqual(ALL);
  const schema = await readSchema();
  expect(schema.length).toBeGreaterThan(10);
  expect(await migrateUp(database, silentLog)).toEqual([]);

  expect(await migrateDown(database, silentLog, { steps: ALL.length })).toEqual(ALL.toReversed());
  expect(await readSchema()).toEqual([]);
  expect(await appliedNames()).toEqual([]);

  expect(await migrateUp(database, silentLog)).toEqual(ALL);
  expect(await readSchema()).toEqual(schema);
  const states = await migrationStatus(database);
  for (const { appliedAt } of states) {
    expect(Math.abs(Date.now() - (appliedAt?.getTime() ?? 0))).toBeLessThan(60_000);
  }
});

test("down goes one step, or to and with a named migration", async () => {
  await migrateUp(database, silentLog);
  expect(await migrateDown(database, silentLog)).toEqual(["0003_ingest_signals"]);
  expect(await appliedNames()).toEqual(["0001_producers", "0002_signals"]);
  await migrateUp(database, silentLog);
  await migrateDown(database, silentLog, { to: "0002_signals" });
  expect(await appliedNames()).toEqual(["0001_producers"]);
  expect(await migrateDown(database, silentLog, { to: "0002_signals" })).toEqual([]);
  await expect(migrateDown(database, silentLog, { to: "0002" })).rejects.toThrow(RangeError);
});

test("a filled database keeps its signals when only a function goes and comes", async () => {
  await migrateUp(database, silentLog);
  const store = createSignalStore(database);
  const candidates = [aCandidate(), aCandidate()];
  await store.ingest(candidates, TIMEOUT_MS);

  await migrateDown(database, silentLog);
  await migrateUp(database, silentLog);
  const retries = candidates.map(({ idempotencyKey }) => aCandidate({ idempotencyKey }));
  expect(await store.ingest(retries, TIMEOUT_MS)).toMatchObject([
    { kind: "duplicate", signalId: candidates[0]?.signalId },
    { kind: "duplicate", signalId: candidates[1]?.signalId },
  ]);

  await migrateDown(database, silentLog, { to: "0001_producers" });
  await migrateUp(database, silentLog);
  expect(await store.ingest(retries, TIMEOUT_MS)).toMatchObject([
    { kind: "stored" },
    { kind: "stored" },
  ]);
});

test("twenty processes that start at once apply each migration once", async () => {
  const databases = Array.from({ length: 20 }, () =>
    openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog }),
  );
  const applied = await Promise.all(databases.map((one) => migrateUp(one, silentLog)));
  expect(applied.flat().sort()).toEqual(ALL);
  expect(await appliedNames()).toEqual(ALL);

  const reverted = await Promise.all(
    databases.map((one) => migrateDown(one, silentLog, { to: "0001_producers" })),
  );
  expect(reverted.flat().sort()).toEqual(ALL);
  expect(await readSchema()).toEqual([]);
  await Promise.all(databases.map((one) => one.close()));
});

test("a database that a newer version migrated is refused", async () => {
  await migrateUp(database, silentLog);
  await database.query(
    TIMEOUT_MS,
    (sql) => sql`INSERT INTO schema_migrations (name) VALUES ('0999_future')`,
  );
  for (const migrate of [migrateUp, migrateDown]) {
    const attempt = migrate(database, silentLog);
    await expect(attempt).rejects.toThrow(NewerDatabaseError);
    await expect(attempt).rejects.toThrow(/0999_future/);
  }
  expect((await migrationStatus(database)).at(-1)).toMatchObject({ name: "0999_future" });
});

test("a migration that fails leaves nothing of itself behind", async () => {
  // The second migration makes a sequence, then fails at the table that is there already.
  await database.query(TIMEOUT_MS, (sql) => sql`CREATE TABLE signals ()`);
  await expect(migrateUp(database, silentLog)).rejects.toMatchObject({ cause: { code: "42P07" } });
  expect(await appliedNames()).toEqual(["0001_producers"]);
  expect(await readSchema()).not.toContain("S signal_sequence");

  await database.query(TIMEOUT_MS, (sql) => sql`DROP TABLE signals`);
  expect(await migrateUp(database, silentLog)).toEqual(ALL.slice(1));
});

test("a migration that waits long for its turn is not ended by the usual timeouts", async () => {
  const impatient = openDatabase({
    url: testDatabase.url,
    poolSize: 1,
    log: silentLog,
    statementTimeoutMs: 200,
    lockTimeoutMs: 200,
  });
  const holding = database.query(
    TIMEOUT_MS,
    (sql) =>
      sql`SELECT pg_advisory_lock(4850289311207714), pg_sleep(0.6), pg_advisory_unlock_all()`,
  );
  await database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_sleep(0.1)`);
  expect(await migrateUp(impatient, silentLog)).toEqual(ALL);
  await holding;
  await impatient.close();
});
