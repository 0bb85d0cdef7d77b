import { afterEach, describe, expect, test } from "vitest";
import {
  assertSafe,
  createSignalStore,
  migrateUp,
  openDatabase,
  UnsafeDatabaseError,
} from "../../src/store/index.ts";
import { createTestCluster } from "../support/cluster.ts";
import {
  createTestDatabase,
  databaseUrl,
  runOnServer,
  silentLog,
  type TestDatabase,
} from "../support/postgres.ts";
import { aCandidate } from "./builders.ts";

/** What assertSafe throws for a database; undefined if it is safe. */
async function check(url: string, prepare = true): Promise<unknown> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog, prepare });
  try {
    return await assertSafe(database).catch((error: unknown) => error);
  } finally {
    await database.close();
  }
}

describe("a database on the test server", () => {
  let testDatabase: TestDatabase;
  afterEach(() => testDatabase.drop());

  test("is safe as it is", async () => {
    testDatabase = await createTestDatabase();
    expect(await check(testDatabase.url)).toBeUndefined();
  });

  const HOSTILE = [
    ["array_nulls", "off"],
    ["bytea_output", "escape"],
    ["DateStyle", "German, DMY"],
    ["default_transaction_isolation", "'repeatable read'"],
    ["extra_float_digits", "0"],
    ["standard_conforming_strings", "off"],
  ] as const;

  test.each(HOSTILE)("is safe with %s = %s, since sessions set it", async (name, value) => {
    testDatabase = await createTestDatabase("empty");
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET ${name} = ${value}`,
    );
    expect(await check(testDatabase.url)).toBeUndefined();
  });

  // What PgBouncer passes on, a session sets there, too.
  test.each(HOSTILE.filter(([name]) => !/^(DateStyle|standard_)/.test(name)))(
    "is refused behind a pooler with %s = %s",
    async (name, value) => {
      testDatabase = await createTestDatabase("empty");
      await runOnServer(
        testDatabase.url,
        `ALTER DATABASE ${testDatabase.name} SET ${name} = ${value}`,
      );
      const error = await check(testDatabase.url, false);
      expect(error).toBeInstanceOf(UnsafeDatabaseError);
      expect(error).toMatchObject({
        problems: [expect.stringMatching(new RegExp(`^${name} is .* set it to .*ALTER DATABASE`))],
      });
    },
  );

  test("is refused at a start with synchronous_commit off", async () => {
    testDatabase = await createTestDatabase("empty");
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET synchronous_commit = off`,
    );
    expect(await check(testDatabase.url)).toMatchObject({
      problems: [expect.stringMatching(/^synchronous_commit is off, .* set it to on where/)],
    });
  });

  test("is refused while it is read-only", async () => {
    testDatabase = await createTestDatabase("empty");
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET default_transaction_read_only = on`,
    );
    expect(await check(testDatabase.url)).toMatchObject({
      problems: [expect.stringMatching(/^It is read-only, since default_transaction_read_only/)],
    });
  });

  test("is never written to in an isolation that sees too little", async () => {
    testDatabase = await createTestDatabase();
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET default_transaction_isolation = serializable`,
    );
    const { url } = testDatabase;
    const pooled = openDatabase({ url, poolSize: 1, log: silentLog, prepare: false });
    await expect(createSignalStore(pooled).ingest([aCandidate()], 5_000)).rejects.toThrow(
      /default_transaction_isolation/,
    );
    await pooled.close();
    const direct = openDatabase({ url, poolSize: 1, log: silentLog });
    expect(await createSignalStore(direct).listSignals({ afterSequence: 0n, limit: 1 })).toEqual(
      [],
    );
    await direct.close();
  });

  test("is never written to where a missing field would be a text", async () => {
    testDatabase = await createTestDatabase();
    await runOnServer(
      testDatabase.url,
      `ALTER DATABASE ${testDatabase.name} SET array_nulls = off`,
    );
    const { url } = testDatabase;
    const pooled = openDatabase({ url, poolSize: 1, log: silentLog, prepare: false });
    // Without a key, and of the other fields only those are missing that are texts.
    const { signal, ...rest } = aCandidate({ idempotencyKey: undefined });
    const expireTime = signal.signalTime + 3_600_000_000_000n;
    const candidate = {
      ...rest,
      requestSignature: new Uint8Array(32),
      payloadJson: "{}",
      signal: {
        ...signal,
        stopLoss: 1,
        takeProfit: 2e6,
        confidence: 1,
        riskPercent: 1,
        expireTime,
      },
    };
    await expect(createSignalStore(pooled).ingest([candidate], 5_000)).rejects.toThrow(
      /would not keep/,
    );
    await pooled.close();
  });

  test("is refused with an encoding that cannot hold every text", async () => {
    testDatabase = await createTestDatabase("empty");
    const name = `${testDatabase.name}_ascii`;
    await runOnServer(
      testDatabase.url,
      `CREATE DATABASE ${name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0`,
    );
    const error = await check(databaseUrl(testDatabase.url, name));
    await runOnServer(testDatabase.url, `DROP DATABASE ${name}`);
    expect(error).toMatchObject({
      problems: [expect.stringMatching(/encoding is SQL_ASCII.*ENCODING 'UTF8'/)],
    });
  });
});

test("a server that does not write to disk is refused, with all that is wrong at once", async () => {
  await using cluster = await createTestCluster();
  await cluster.start({ fsync: "off", full_page_writes: "off" });
  expect(await check(cluster.url)).toMatchObject({
    name: "UnsafeDatabaseError",
    problems: [
      expect.stringMatching(/^fsync is off.*ALTER SYSTEM SET fsync = on/),
      expect.stringMatching(/^full_page_writes is off.*ALTER SYSTEM SET full_page_writes = on/),
    ],
  });
});

test("a server takes nothing from the moment on at which it no longer writes to disk", async () => {
  await using cluster = await createTestCluster();
  await cluster.start();
  const database = openDatabase({ url: cluster.url, poolSize: 2, log: silentLog });
  await migrateUp(database, silentLog);
  const store = createSignalStore(database);
  const reload = (setting: string) =>
    runOnServer(cluster.url, `ALTER SYSTEM SET ${setting}`).then(() =>
      runOnServer(cluster.url, "SELECT pg_reload_conf(), pg_sleep(0.2)"),
    );
  for (const name of ["fsync", "full_page_writes"]) {
    const before = aCandidate();
    expect(await store.ingest([before], 5_000)).toMatchObject([{ kind: "stored" }]);
    await reload(`${name} = off`);
    const refused = aCandidate();
    await expect(store.ingest([refused], 5_000)).rejects.toThrow(/would not keep/);
    // Nor is promised again what may not be on disk any more.
    await expect(store.ingest([before], 5_000)).rejects.toThrow(/would not keep/);
    expect(await store.findSignal(refused.signalId)).toBeUndefined();
    await reload(`${name} = on`);
    expect(await store.ingest([refused], 5_000)).toMatchObject([{ kind: "stored" }]);
  }
  await database.close();
});
