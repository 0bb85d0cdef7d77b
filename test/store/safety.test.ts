import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SignalCandidate } from "../../src/ingest/store.ts";
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
import { aCandidate, aSignal, aSignature, NOW, SECOND } from "./builders.ts";

/** What assertSafe throws for a database; undefined if it is safe. */
async function check(url: string): Promise<unknown> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    return await assertSafe(database).catch((error: unknown) => error);
  } finally {
    await database.close();
  }
}

describe("a database on the test server", () => {
  let testDatabase: TestDatabase;
  beforeEach(async () => {
    testDatabase = await createTestDatabase();
  });
  afterEach(() => testDatabase.drop());

  const set = (setting: string) =>
    runOnServer(testDatabase.url, `ALTER DATABASE ${testDatabase.name} SET ${setting}`);
  const pooledUrl = () => `${testDatabase.url}?pgbouncer=true`;

  test("is safe whatever is set for it, since sessions set it, but not behind a pooler", async () => {
    expect(await check(testDatabase.url)).toBeUndefined();
    expect(await check(pooledUrl())).toBeUndefined();
    for (const setting of [
      "array_nulls = off",
      "bytea_output = escape",
      "DateStyle = German, DMY",
      "default_transaction_isolation = 'repeatable read'",
      "extra_float_digits = 0",
      "standard_conforming_strings = off",
    ]) {
      await set(setting);
    }
    expect(await check(testDatabase.url)).toBeUndefined();
    const error = await check(pooledUrl());
    expect(error).toBeInstanceOf(UnsafeDatabaseError);
    // What PgBouncer passes on, a session sets there, too.
    expect(error).toMatchObject({
      problems: [
        "array_nulls is off",
        "bytea_output is escape",
        "default_transaction_isolation is repeatable read",
        "extra_float_digits is 0",
      ].map((what) => expect.stringMatching(new RegExp(`^${what}: set it to .*ALTER DATABASE`))),
    });
  });

  test.each([
    ["synchronous_commit = off", /^synchronous_commit is off, .* set it to on where/],
    ["default_transaction_read_only = on", /^It is read-only, since default_transaction_read_only/],
  ])("is refused with %s", async (setting, problem) => {
    await set(setting);
    expect(await check(testDatabase.url)).toMatchObject({
      problems: [expect.stringMatching(problem)],
    });
  });

  test("is never written to behind a pooler in an isolation that sees too little", async () => {
    await set("default_transaction_isolation = serializable");
    await expectNotKept(aCandidate());
  });

  test("is never written to behind a pooler where a missing field would be a text", async () => {
    await set("array_nulls = off");
    // Without a key, and of the other fields only those are missing that are texts.
    const filled = { stopLoss: 1, takeProfit: 2e6, expireTime: NOW + SECOND, payload: {} };
    await expectNotKept(
      aCandidate({ idempotencyKey: undefined, requestSignature: aSignature() }, aSignal(filled)),
    );
  });

  async function expectNotKept(candidate: SignalCandidate): Promise<void> {
    const pooled = openDatabase({ url: pooledUrl(), poolSize: 1, log: silentLog });
    const store = createSignalStore(pooled);
    await expect(store.ingest([candidate], 5_000)).rejects.toThrow(/would not keep/);
    await pooled.close();
    const direct = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
    expect(await createSignalStore(direct).findSignal(candidate.signalId)).toBeUndefined();
    await direct.close();
  }

  test("is refused with an encoding that cannot hold every text", async () => {
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
