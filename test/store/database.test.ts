import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { StoreUnavailableError } from "../../src/ingest/store.ts";
import {
  createSignalStore,
  type Database,
  type DatabaseOptions,
  openDatabase,
} from "../../src/store/index.ts";
import {
  createTestDatabase,
  runOnServer,
  silentLog,
  type TestDatabase,
} from "../support/postgres.ts";
import { type FaultyProxy, startProxy } from "../support/proxy.ts";
import { recordLog } from "../support/recordLog.ts";
import { aCandidate } from "./builders.ts";

const TIMEOUT_MS = 5_000;
/** What is given up after some hundred milliseconds ends within this on any machine. */
const BOUND_MS = 5_000;

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
});

afterAll(() => testDatabase.drop());

function open(options: Partial<DatabaseOptions> = {}): Database {
  const database = openDatabase({
    url: testDatabase.url,
    poolSize: 3,
    log: silentLog,
    // So that the tests of a stall take no seconds.
    stallTimeoutMs: 100,
    ...options,
  });
  onTestFinished(() => database.close(100));
  return database;
}

const ping = (database: Database, timeoutMs = TIMEOUT_MS) =>
  database.query<{ one: number }>(timeoutMs, (sql) => sql`SELECT 1 AS one`);

/** A log, and how often it has a line. */
function openLog(level: string) {
  const { stream, lines } = recordLog();
  return {
    log: pino({ level }, stream),
    count: (text: string) => lines.filter(({ msg, notice }) => text === (notice ?? msg)).length,
  };
}

/** A log, and how often it warns that connections are replaced. */
function countReplacements() {
  const { log, count } = openLog("warn");
  return {
    log,
    get replacements() {
      return count("database connections are replaced");
    },
  };
}

/** A proxy to the database, until the end of the test. */
async function openProxy(): Promise<FaultyProxy> {
  const proxy = await startProxy(testDatabase.url);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** How long something took that was meant to fail, and with what. */
async function measureFailure(work: Promise<unknown>) {
  const start = performance.now();
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { error, elapsedMs: performance.now() - start };
}

describe("a statement", () => {
  test("that is slow fails at its deadline, and the next one does not wait for it", async () => {
    const database = open({ poolSize: 1 });
    await ping(database);
    const { error, elapsedMs } = await measureFailure(
      database.query(200, (sql) => sql`SELECT pg_sleep(60)`),
    );
    expect(error).toBeInstanceOf(StoreUnavailableError);
    // Timers of Node.js may fire a moment early.
    expect(elapsedMs).toBeGreaterThan(190);
    expect(elapsedMs).toBeLessThan(BOUND_MS);
    expect(await ping(database)).toEqual([{ one: 1 }]);
  });

  test("that misses its deadline takes no other statement with it", async () => {
    const database = open();
    const other = database.query<{ done: boolean }>(
      TIMEOUT_MS,
      (sql) => sql`SELECT true AS done FROM pg_sleep(0.5)`,
    );
    await measureFailure(database.query(100, (sql) => sql`SELECT pg_sleep(3)`));
    expect(await other).toEqual([{ done: true }]);
  });

  test("that is impatient fails alone, however many come to a busy server", async () => {
    const counter = countReplacements();
    const database = openDatabase({ url: testDatabase.url, poolSize: 3, log: counter.log });
    onTestFinished(() => database.close(100));
    const busy = [1, 2, 3].map(() =>
      database.query<{ done: boolean }>(
        TIMEOUT_MS,
        (sql) => sql`SELECT true AS done FROM pg_sleep(0.3)`,
      ),
    );
    await sleep(50);
    const impatient = await Promise.all(
      Array.from({ length: 50 }, (_, index) => measureFailure(ping(database, 1 + (index % 5)))),
    );
    for (const { error } of impatient) {
      expect(error).toBeInstanceOf(StoreUnavailableError);
    }
    expect(await Promise.all(busy)).toEqual([1, 2, 3].map(() => [{ done: true }]));
    expect(await ping(database)).toEqual([{ one: 1 }]);
    expect(counter.replacements).toBe(0);
  });

  test.each([
    ["57014", "SET LOCAL statement_timeout = 100; SELECT pg_sleep(3)"],
    ["42P01", "SELECT * FROM does_not_exist WHERE pg_backend_pid() = 1"],
  ])(
    "that PostgreSQL ends with %s tells so, but not what it was, and leaves the connections alone",
    async (code, statement) => {
      const database = open({ poolSize: 1 });
      const backend = () =>
        database.query<{ pid: number }>(TIMEOUT_MS, (sql) => sql`SELECT pg_backend_pid() AS pid`);
      const before = await backend();
      const { error } = await measureFailure(
        database.query(TIMEOUT_MS, (sql) => sql.unsafe(statement)),
      );
      expect(error).toMatchObject({ name: "StoreUnavailableError", cause: { code } });
      expect(String(error)).not.toContain("pg_");
      expect(await backend()).toEqual(before);
    },
  );
});

test.each([
  ["nobody listens", "user:pass-word@127.0.0.1:1", "ECONNREFUSED"],
  ["the name of the host does not resolve", "user:pass-word@does-not-exist.invalid", "ENOTFOUND"],
])("where %s, a statement fails with the cause", async (_, server, code) => {
  const { error } = await measureFailure(ping(open({ url: `postgres://${server}/db` })));
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect(error).toMatchObject({ cause: { code: expect.stringMatching(`${code}|EAI_AGAIN`) } });
  expect(String(error)).not.toContain("pass-word");
});

describe("a network", () => {
  test("that loses every answer keeps no connection of ours", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);
    proxy.loseAnswers();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await measureFailure(ping(database, 100));
    }
    await expect.poll(() => proxy.openConnections).toBe(0);
  });

  test("that swallows everything is noticed within the time of a readiness check", async () => {
    const proxy = await openProxy();
    const counter = countReplacements();
    const database = openDatabase({ url: proxy.url, poolSize: 3, log: counter.log });
    onTestFinished(() => database.close(100));
    await ping(database);
    proxy.stall();
    await measureFailure(ping(database, 1_000));
    expect(counter.replacements).toBe(0);
    await measureFailure(ping(database, 2_000));
    expect(counter.replacements).toBe(1);
  });

  test("a server that stays away is told of once, and not for each statement", async () => {
    const counter = countReplacements();
    const nowhere = openDatabase({
      url: "postgres://someone@127.0.0.1:1/x",
      poolSize: 1,
      log: counter.log,
    });
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await expect(ping(nowhere)).rejects.toThrow(/ECONNREFUSED/);
    }
    expect(counter.replacements).toBe(1);
    await nowhere.close();
  });

  test("that loses every answer again and again leaves one retired pool at a time", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url, poolSize: 1 });
    await ping(database);
    proxy.loseAnswers();
    const patient: ReturnType<typeof measureFailure>[] = [];
    for (let round = 0; round < 4; round += 1) {
      patient.push(measureFailure(ping(database, 60_000)));
      await measureFailure(ping(database, 100));
      await expect.poll(() => proxy.openConnections).toBeLessThanOrEqual(2);
    }
    // Those of a pool that was retired before the last one did not have to wait that long.
    expect((await patient[0])?.error).toBeInstanceOf(StoreUnavailableError);
    await database.close(0);
    await Promise.all(patient);
  });
});

describe("closing", () => {
  test("waits for what runs", async () => {
    const database = open();
    const running = database.query<{ done: boolean }>(
      TIMEOUT_MS,
      (sql) => sql`SELECT true AS done FROM pg_sleep(0.2)`,
    );
    await sleep(50);
    await database.close();
    expect(await running).toEqual([{ done: true }]);
  });

  test("waits for what came just before, and for its connection", async () => {
    const database = open();
    const coming = ping(database);
    await database.close();
    expect(await coming).toEqual([{ one: 1 }]);
  });

  test("does not wait longer than it may, even for a network that loses every answer", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);
    proxy.loseAnswers();
    const running = measureFailure(ping(database, 60_000));
    await sleep(50);
    const { error, elapsedMs } = await measureFailure(database.close(200));
    expect(error).toBeUndefined();
    expect(elapsedMs).toBeLessThan(BOUND_MS);
    expect((await running).error).toBeInstanceOf(StoreUnavailableError);
    await expect.poll(() => proxy.openConnections).toBe(0);
  });

  test("refuses what comes later", async () => {
    const database = open();
    await database.close();
    await expect(ping(database)).rejects.toThrow(StoreUnavailableError);
  });
});

describe("a session", () => {
  const settings = (database: Database) =>
    database.query(
      TIMEOUT_MS,
      (sql) => sql`
        SELECT current_setting('application_name') AS name,
          current_setting('statement_timeout') AS statement,
          current_setting('lock_timeout') AS lock,
          EXISTS (SELECT FROM pg_prepared_statements) AS prepared
      `,
    );

  test("has timeouts, and the name that was asked for", async () => {
    const database = open({ applicationName: "tester", poolSize: 1 });
    await settings(database);
    expect(await settings(database)).toEqual([
      { name: "tester", statement: "10s", lock: "5s", prepared: true },
    ]);
  });

  test("looks for tables where the role does when it is opened, or where PostgreSQL does", async () => {
    const { url, name } = testDatabase;
    const role = `role_${name}`;
    const asRole = new URL(url);
    asRole.username = role;
    asRole.password = "secret";
    await runOnServer(
      url,
      `CREATE ROLE ${role} LOGIN PASSWORD 'secret';
       CREATE SCHEMA "its Own"; GRANT USAGE ON SCHEMA "its Own" TO ${role}; CREATE SCHEMA closed`,
    );
    onTestFinished(() =>
      runOnServer(url, `DROP SCHEMA "its Own", closed; DROP OWNED BY ${role}; DROP ROLE ${role}`),
    );
    const searchPath = async () => {
      const database = open({ url: asRole.href, poolSize: 1 });
      const rows = await database.query<{ path: string }>(
        TIMEOUT_MS,
        (sql) => sql`SELECT current_setting('search_path') AS path`,
      );
      return rows[0]?.path;
    };
    expect(await searchPath()).toBe("public");
    for (const [set, used] of [
      ['"its Own", public', '"its Own", public'],
      ["pg_catalog, public, pg_temp", "public"],
      ["''", '"$user", public'],
      ["nonexistent", '"$user", public'],
      // Not somewhere else: what is missing is a right, and the error names it.
      ["closed", "closed"],
    ]) {
      await runOnServer(url, `ALTER ROLE ${role} SET search_path = ${set}`);
      expect(await searchPath(), set).toBe(used);
    }
  });

  test("keeps what it began with, whatever is set later", async () => {
    const database = open({ poolSize: 1 });
    const isFound = () =>
      database
        .query(TIMEOUT_MS, (sql) => sql`SELECT count(*) FROM producers`)
        .then(
          () => true,
          () => false,
        );
    expect(await isFound()).toBe(true);
    const { url, name } = testDatabase;
    await runOnServer(url, `ALTER DATABASE ${name} SET search_path = ''`);
    onTestFinished(() => runOnServer(url, `ALTER DATABASE ${name} RESET search_path`));
    await runOnServer(
      url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'countersign'",
    );
    await isFound();
    expect(await isFound()).toBe(true);
  });

  test("behind a pooler prepares nothing and sets nothing that a pooler refuses", async () => {
    const database = open({ url: `${testDatabase.url}?pgbouncer=true`, poolSize: 1 });
    await settings(database);
    expect(await settings(database)).toEqual([
      { name: "countersign", statement: "0", lock: "0", prepared: false },
    ]);
    expect(await createSignalStore(database).ingest([aCandidate()], TIMEOUT_MS)).toMatchObject([
      { kind: "stored" },
    ]);
  });

  test("passes the server's notices on to the log", async () => {
    const { log, count } = openLog("debug");
    const database = open({ log });
    await database.query(TIMEOUT_MS, (sql) => sql`DO $$ BEGIN RAISE NOTICE 'take notice'; END $$`);
    expect(count("take notice")).toBe(1);
  });
});
