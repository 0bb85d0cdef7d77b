import { readdirSync } from "node:fs";
import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  createSignalStore,
  type Database,
  ForeignObjectsError,
  migrateDown,
  migrateUp,
  migrationStatus,
  NewerDatabaseError,
  openDatabase,
} from "../../src/store/index.ts";
import { readCreatedObjects } from "../../src/store/migrationFiles.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, silentLog, type TestDatabase } from "../support/postgres.ts";
import { aCandidate } from "./builders.ts";

const TIMEOUT_MS = 10_000;
const ALL = readdirSync(new URL("../../src/store/migrations", import.meta.url))
  .filter((name) => name.endsWith(".up.sql"))
  .map((name) => name.replace(".up.sql", ""))
  .sort();

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
      WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'countersign_migrations%'
      UNION ALL
      SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      ORDER BY 1
    `,
  );
  return rows.map((row) => row.name);
}

test("up, all the way down, and up again give the same schema, and the status tells of it", async () => {
  expect(await migrationStatus(database)).toEqual(
    ALL.map((name) => ({ name, appliedAt: undefined })),
  );
  expect([...(await readSchema()), ...(await relations())]).toEqual([]);

  expect(await migrateUp(database, silentLog)).toEqual(ALL);
  const schema = await readSchema();
  expect(schema.length).toBeGreaterThan(10);
  expect(await migrateUp(database, silentLog)).toEqual([]);

  expect(await migrateDown(database, silentLog, { steps: ALL.length })).toEqual(ALL.toReversed());
  expect(await readSchema()).toEqual([]);
  expect(await appliedNames()).toEqual([]);

  expect(await migrateUp(database, silentLog)).toEqual(ALL);
  expect(await readSchema()).toEqual(schema);
  for (const { appliedAt } of await migrationStatus(database)) {
    expect(Math.abs(Date.now() - (appliedAt?.getTime() ?? 0))).toBeLessThan(60_000);
  }
});

test("down goes one step, or to and with a named migration", async () => {
  await migrateUp(database, silentLog);
  expect(await migrateDown(database, silentLog)).toEqual(ALL.slice(-1));
  expect(await appliedNames()).toEqual(ALL.slice(0, -1));
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

  await migrateDown(database, silentLog, { to: "0003_ingest_signals" });
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
    (sql) => sql`INSERT INTO countersign_migrations (name) VALUES ('0999_future')`,
  );
  for (const migrate of [migrateUp, migrateDown]) {
    const attempt = migrate(database, silentLog);
    await expect(attempt).rejects.toThrow(NewerDatabaseError);
    await expect(attempt).rejects.toThrow(/0999_future/);
  }
  expect((await migrationStatus(database)).at(-1)).toMatchObject({ name: "0999_future" });
});

test("a migration that fails leaves nothing of itself behind", async () => {
  // The second migration makes a sequence, then fails at the table, whose type is there already.
  await database.query(TIMEOUT_MS, (sql) => sql`CREATE TYPE signals AS ENUM ()`);
  await expect(migrateUp(database, silentLog)).rejects.toMatchObject({ cause: { code: "42710" } });
  expect(await appliedNames()).toEqual(["0001_producers"]);
  expect(await readSchema()).not.toContain("S signal_sequence");

  await database.query(TIMEOUT_MS, (sql) => sql`DROP TYPE signals`);
  expect(await migrateUp(database, silentLog)).toEqual(ALL.slice(1));
});

/** As an older version left it, with its name for the table of migrations. */
async function renameToFormer(): Promise<void> {
  await database.query(TIMEOUT_MS, (sql) =>
    sql.unsafe(`ALTER TABLE countersign_migrations RENAME TO schema_migrations;
      ALTER INDEX countersign_migrations_pkey RENAME TO schema_migrations_pkey`),
  );
}

async function relations(): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    TIMEOUT_MS,
    (sql) => sql`
      SELECT relname::text AS name FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relname LIKE '%migrations%' ORDER BY 1
    `,
  );
  return rows.map(({ name }) => name);
}

const OUR_TABLE = ["countersign_migrations", "countersign_migrations_pkey"];

describe("the table of migrations of an older version", () => {
  test("is read by its old name, and renamed by whoever migrates", async () => {
    await migrateUp(database, silentLog);
    await renameToFormer();
    expect(await appliedNames()).toEqual(ALL);
    expect(await relations()).toEqual(["schema_migrations", "schema_migrations_pkey"]);

    expect(await migrateUp(database, silentLog)).toEqual([]);
    expect(await relations()).toEqual(OUR_TABLE);
    expect(await appliedNames()).toEqual(ALL);

    await renameToFormer();
    expect(await migrateDown(database, silentLog)).toEqual(ALL.slice(-1));
    expect(await relations()).toEqual(OUR_TABLE);
  });

  test("is renamed once by twenty servers that start at once, while others look", async () => {
    await migrateUp(database, silentLog);
    await migrateDown(database, silentLog);
    await renameToFormer();
    const databases = Array.from({ length: 20 }, () =>
      openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog }),
    );
    const [applied, states] = await Promise.all([
      Promise.all(databases.map((one) => migrateUp(one, silentLog))),
      Promise.all(databases.map((one) => migrationStatus(one))),
    ]);
    expect(applied.flat()).toEqual(ALL.slice(-1));
    for (const state of states) expect(state[0]?.appliedAt).toBeInstanceOf(Date);
    expect(await relations()).toEqual(OUR_TABLE);
    await Promise.all(databases.map((one) => one.close()));
  });

  test("is renamed by another process while this one waits for its turn", async () => {
    const sql = postgres(testDatabase.url, { max: 1 });
    // One session, so that it remembers how the table was called before it waited.
    const waiting = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
    onTestFinished(async () => {
      await Promise.all([sql.end(), waiting.close()]);
    });
    await migrateUp(waiting, silentLog);
    await renameToFormer();
    await sql`SELECT pg_advisory_lock(4850289311207714)`;
    const applied = migrateUp(waiting, silentLog);
    await eventually("it waits for its turn", async () => {
      const locks = await sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
      return locks.length > 0;
    });
    await sql.unsafe(`ALTER TABLE schema_migrations RENAME TO countersign_migrations;
      ALTER INDEX schema_migrations_pkey RENAME TO countersign_migrations_pkey`);
    await sql`SELECT pg_advisory_unlock_all()`;

    expect(await applied).toEqual([]);
    expect(await relations()).toEqual(OUR_TABLE);
  });

  test("is found when it is renamed between two looks at it", async () => {
    await migrateUp(database, silentLog);
    await renameToFormer();
    let queries = 0;
    const racing: Database = {
      ...database,
      async query(timeoutMs, statement) {
        const rows = await database.query(timeoutMs, statement);
        queries += 1;
        if (queries === 1) await migrateUp(database, silentLog);
        return rows;
      },
    };
    const states = await migrationStatus(racing);
    expect(states.map(({ appliedAt }) => appliedAt)).not.toContain(undefined);
  });

  test.each([
    ["of Rails", "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)"],
    ["of Go", "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)"],
    [
      "that looks like ours",
      `CREATE TABLE schema_migrations (name text, applied_at timestamptz);
       INSERT INTO schema_migrations VALUES ('0001_users', now())`,
    ],
  ])("is left alone if it is one %s", async (_, script) => {
    await database.query(TIMEOUT_MS, (sql) => sql.unsafe(script));
    expect(await appliedNames()).toEqual([]);
    expect(await migrateUp(database, silentLog)).toEqual(ALL);
    expect(await relations()).toEqual(expect.arrayContaining([...OUR_TABLE, "schema_migrations"]));
    expect(await migrateDown(database, silentLog, { steps: ALL.length })).toHaveLength(ALL.length);
    expect(await relations()).toContain("schema_migrations");
  });
});

describe("what others have made by our names stops the migration before it makes anything", () => {
  test.each([
    ["CREATE TABLE signals (id int)", "table signals"],
    ["CREATE TABLE producers (id int)", "table producers"],
    ["CREATE VIEW request_signatures AS SELECT 1 AS one", "view request_signatures"],
    ["CREATE SEQUENCE signal_sequence", "sequence signal_sequence"],
    ["CREATE TABLE t (id int); CREATE INDEX signals_sequence ON t (id)", "index signals_sequence"],
    [
      "CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
      "function set_updated_at",
    ],
  ])("%s", async (script, object) => {
    await database.query(TIMEOUT_MS, (sql) => sql.unsafe(script));
    const before = await readSchema();
    const attempt = migrateUp(database, silentLog);
    await expect(attempt).rejects.toThrow(ForeignObjectsError);
    await expect(attempt).rejects.toThrow(
      `The schema public has objects of another program by Countersign's names: ${object}. Nothing was changed.`,
    );
    await expect(attempt).rejects.toThrow(/CREATE SCHEMA countersign; .*schema=countersign/);
    expect(await readSchema()).toEqual(before);
    expect(await relations()).toEqual([]);
  });

  test("also half-way, and a schema of its own is the way out", async () => {
    await database.query(TIMEOUT_MS, (sql) =>
      sql.unsafe("CREATE TABLE signals (id int); CREATE SCHEMA own"),
    );
    await expect(migrateUp(database, silentLog)).rejects.toThrow(ForeignObjectsError);
    const own = openDatabase({
      url: `${testDatabase.url}?schema=own`,
      poolSize: 1,
      log: silentLog,
    });
    expect(await migrateUp(own, silentLog)).toEqual(ALL);
    expect(await migrateUp(own, silentLog)).toEqual([]);
    await own.close();
    expect(await readSchema()).toEqual(["r signals"]);
  });

  test("every name that the migrations make is looked for", async () => {
    await migrateUp(database, silentLog);
    const made = (await readCreatedObjects(ALL)).map(({ name }) => name);
    const rows = await database.query<{ name: string }>(
      TIMEOUT_MS,
      (sql) => sql`
        SELECT relname::text AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname !~ '_pkey$|^countersign_migrations$'
        UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1
      `,
    );
    expect([...new Set(made)].sort()).toEqual(rows.map(({ name }) => name));
  });
});

test("where nothing is to be done, nobody is waited for", async () => {
  await migrateUp(database, silentLog);
  const holder = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  await holder.query(TIMEOUT_MS, (sql) => sql`SELECT pg_advisory_lock(4850289311207714)`);
  expect(await migrateUp(database, silentLog)).toEqual([]);
  await holder.close();
});

test("a migration that waits long for its turn is not ended by the usual timeouts", async () => {
  const impatient = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  await impatient.query(TIMEOUT_MS, (sql) =>
    sql.unsafe("SET statement_timeout = 200; SET lock_timeout = 200"),
  );
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
