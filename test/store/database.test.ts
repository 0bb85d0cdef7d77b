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
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
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

async function openProxy(): Promise<FaultyProxy> {
  const proxy = await startProxy(testDatabase.url);
  onTestFinished(() => proxy.close());
  return proxy;
}

const ping = (database: Database, timeoutMs = TIMEOUT_MS) =>
  database.query<{ one: number }>(timeoutMs, (sql) => sql`SELECT 1 AS one`);

/** A log, and how often it says that connections are replaced. */
function countReplacements() {
  const { stream, lines } = recordLog();
  return {
    log: pino(stream),
    get replacements() {
      return lines.filter(({ msg }) => msg === "database connections are replaced").length;
    },
  };
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
      database.query(200, (sql) => sql`SELECT pg_sleep(3)`),
    );
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(elapsedMs).toBeGreaterThan(190);
    expect(elapsedMs).toBeLessThan(400);
    expect(await ping(database, 1_000)).toEqual([{ one: 1 }]);
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

  test("that the server ends for its own timeout leaves the connections alone", async () => {
    const database = open({ poolSize: 1, statementTimeoutMs: 100 });
    const backend = () =>
      database.query<{ pid: number }>(TIMEOUT_MS, (sql) => sql`SELECT pg_backend_pid() AS pid`);
    const before = await backend();
    await expect(
      database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_sleep(3)`),
    ).rejects.toMatchObject({ name: "StoreUnavailableError", cause: { code: "57014" } });
    expect(await backend()).toEqual(before);
  });

  test("that waits for a lock gives up after the lock timeout", async () => {
    const database = open({ lockTimeoutMs: 100 });
    const holding = database.query(
      TIMEOUT_MS,
      (sql) => sql`SELECT lock_signal_sequence(), pg_sleep(0.5)`,
    );
    await sleep(50);
    await expect(
      createSignalStore(database).ingest([aCandidate()], TIMEOUT_MS),
    ).rejects.toMatchObject({ cause: { code: "55P03" } });
    await holding;
  });

  test("that is wrong tells its SQLSTATE, but not the statement", async () => {
    const database = open();
    const { error } = await measureFailure(
      database.query(TIMEOUT_MS, (sql) => sql`SELECT * FROM does_not_exist WHERE 1 = 1`),
    );
    expect(error).toMatchObject({ name: "StoreUnavailableError", cause: { code: "42P01" } });
    expect(String(error)).not.toContain("WHERE");
  });
});

describe("without a server", () => {
  test("a statement fails with the cause", async () => {
    const database = open({ url: "postgres://user:pass-word@127.0.0.1:1/db" });
    const { error, elapsedMs } = await measureFailure(ping(database));
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error).toMatchObject({ cause: { code: "ECONNREFUSED" } });
    expect(String(error)).not.toContain("pass-word");
    expect(elapsedMs).toBeLessThan(1_000);
  });

  test("a host name that does not resolve fails at once", async () => {
    const database = open({ url: "postgres://user@does-not-exist.invalid/db" });
    const { error } = await measureFailure(ping(database, 3_000));
    expect(error).toBeInstanceOf(StoreUnavailableError);
  });
});

describe("a network", () => {
  test("that swallows everything gives an error in time, and service resumes when it heals", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);

    proxy.loseAnswers();
    const attempts = await Promise.all(
      [200, 200, 300, 300, 300, 300].map((timeoutMs) => measureFailure(ping(database, timeoutMs))),
    );
    for (const { error, elapsedMs } of attempts) {
      expect(error).toBeInstanceOf(StoreUnavailableError);
      expect(elapsedMs).toBeLessThan(500);
    }

    await proxy.heal();
    expect(await ping(database, 1_000)).toEqual([{ one: 1 }]);
  });

  test("that swallows everything keeps no connection of ours", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);
    proxy.loseAnswers();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await measureFailure(ping(database, 100));
    }
    await sleep(100);
    expect(proxy.openConnections).toBeLessThanOrEqual(1);
  });

  test("that swallows everything is noticed within the time of a readiness check", async () => {
    const proxy = await openProxy();
    const counter = countReplacements();
    const database = openDatabase({ url: proxy.url, poolSize: 3, log: counter.log });
    onTestFinished(() => database.close(100));
    await ping(database);
    proxy.loseAnswers();
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

  test("that swallows everything again and again leaves one retired pool at a time", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url, poolSize: 1 });
    await ping(database);
    proxy.loseAnswers();
    const patient: ReturnType<typeof measureFailure>[] = [];
    for (let round = 0; round < 4; round += 1) {
      patient.push(measureFailure(ping(database, TIMEOUT_MS)));
      await measureFailure(ping(database, 100));
      await sleep(20);
      expect(proxy.openConnections).toBeLessThanOrEqual(2);
    }
    const first = await patient[0];
    expect(first?.error).toBeInstanceOf(StoreUnavailableError);
    expect(first?.elapsedMs).toBeLessThan(1_000);
    await database.close(0);
    await Promise.all(patient);
  });

  test("that cuts connections fails what runs, and service resumes when it heals", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);

    const running = measureFailure(database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_sleep(2)`));
    await sleep(100);
    proxy.refuse();
    const { error, elapsedMs } = await running;
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(elapsedMs).toBeLessThan(1_000);
    const next = await measureFailure(ping(database, 500));
    expect(next.error).toBeInstanceOf(StoreUnavailableError);
    expect(next.elapsedMs).toBeLessThan(700);

    await proxy.heal();
    expect(await ping(database, 1_000)).toEqual([{ one: 1 }]);
  });
});

test("a connection that dies at any moment of its start fails the statement and nothing else", async () => {
  const proxy = await openProxy();
  // A rejection that nobody handles would fail this run, as it would end the service.
  for (let delayMs = 0; delayMs < 16; delayMs += 1) {
    const database = open({ url: proxy.url });
    const first = ping(database, 150).catch((error: unknown) => error);
    await sleep(delayMs);
    proxy.refuse();
    const outcome = await first;
    if (!Array.isArray(outcome)) {
      expect(outcome).toBeInstanceOf(StoreUnavailableError);
    }
    await proxy.heal();
    // Once more, in case this one is the first to learn that its connection is dead.
    const next = await ping(database, 1_000).catch(() => ping(database, 1_000));
    expect(next).toEqual([{ one: 1 }]);
    await database.close();
  }
});

describe("a server", () => {
  let server: TestCluster;

  beforeAll(async () => {
    server = await createTestCluster();
    await server.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  async function backendPids(database: Database): Promise<number[]> {
    const rows = await database.query<{ pid: number }>(
      TIMEOUT_MS,
      (sql) => sql`SELECT pid FROM pg_stat_activity WHERE application_name = 'countersign'`,
    );
    return rows.map((row) => row.pid);
  }

  test("whose processes are stopped gives an error in time, and service resumes with them", async () => {
    const database = open({ url: server.url });
    await Promise.all([ping(database), ping(database), ping(database)]);
    const pids = await backendPids(database);
    expect(pids.length).toBeGreaterThan(0);
    for (const pid of pids) {
      process.kill(pid, "SIGSTOP");
    }
    try {
      const { error, elapsedMs } = await measureFailure(ping(database, 300));
      expect(error).toBeInstanceOf(StoreUnavailableError);
      expect(elapsedMs).toBeLessThan(500);
      // The fresh connections get processes of their own.
      expect(await ping(database, 2_000)).toEqual([{ one: 1 }]);
    } finally {
      for (const pid of pids) {
        process.kill(pid, "SIGCONT");
      }
    }
    expect(await ping(database)).toEqual([{ one: 1 }]);
  });

  test("that crashes and recovers is used again", async () => {
    const database = open({ url: server.url });
    await ping(database);
    const [pid] = await backendPids(database);
    // PostgreSQL answers the death of one process by ending all and recovering.
    process.kill(pid ?? 0, "SIGKILL");
    const failure = await measureFailure(
      database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_sleep(1)`),
    );
    expect(failure.error).toBeInstanceOf(StoreUnavailableError);

    const deadline = performance.now() + 5_000;
    let answer: unknown;
    while (answer === undefined && performance.now() < deadline) {
      answer = await ping(database, 500).catch(() => undefined);
      await sleep(20);
    }
    expect(answer).toEqual([{ one: 1 }]);
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

  test("does not wait longer than it may, even for a network that swallows everything", async () => {
    const proxy = await openProxy();
    const database = open({ url: proxy.url });
    await ping(database);
    proxy.loseAnswers();
    const running = measureFailure(ping(database, 10_000));
    await sleep(50);
    const { error, elapsedMs } = await measureFailure(database.close(200));
    expect(error).toBeUndefined();
    expect(elapsedMs).toBeLessThan(400);
    expect((await running).error).toBeInstanceOf(StoreUnavailableError);
    await sleep(50);
    expect(proxy.openConnections).toBe(0);
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

  test("has the timeouts and the name that were asked for", async () => {
    const database = open({
      applicationName: "tester",
      statementTimeoutMs: 7_000,
      lockTimeoutMs: 3_000,
      poolSize: 1,
    });
    await settings(database);
    expect(await settings(database)).toEqual([
      { name: "tester", statement: "7s", lock: "3s", prepared: true },
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
    const database = open({ prepare: false, poolSize: 1 });
    await settings(database);
    expect(await settings(database)).toEqual([
      { name: "countersign", statement: "0", lock: "0", prepared: false },
    ]);
    expect(await createSignalStore(database).ingest([aCandidate()], TIMEOUT_MS)).toMatchObject([
      { kind: "stored" },
    ]);
  });

  test("passes the server's notices on to the log", async () => {
    const { stream, lines } = recordLog();
    const database = open({ log: pino({ level: "debug" }, stream) });
    await database.query(TIMEOUT_MS, (sql) => sql`DO $$ BEGIN RAISE NOTICE 'take notice'; END $$`);
    expect(JSON.stringify(lines)).toContain("take notice");
  });
});
