/** Behind PgBouncer, in transaction and in session mode, everything holds that holds without. */
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { NO_PGBOUNCER, startPgBouncer } from "../support/pgbouncer.ts";
import { runOnServer, type TestDatabase } from "../support/postgres.ts";
import { spawnServer, startTestServer, testServerEnv } from "../support/server.ts";
import { brokenPromises, readRows, sortedKeys, sortedRowKeys } from "./support/ledger.ts";
import { ownDatabase, ownProxy, ownServer } from "./support/parts.ts";
import { closeSenders, getJson, openSenders } from "./support/senders.ts";
import { deliver, streamSignals } from "./support/stream.ts";

const TEST_TIMEOUT_MS = 60_000;

const pooled = (url: string) => `${url}?pgbouncer=true`;

async function startPooled(settings: Readonly<Record<string, string>>) {
  const database = await ownDatabase();
  const proxy = await ownProxy(database.url);
  const pooler = await startPgBouncer(proxy.url, settings);
  onTestFinished(() => pooler.close());
  return { database, proxy, pooler };
}

beforeEach(({ skip }) => {
  if (NO_PGBOUNCER !== undefined) skip(NO_PGBOUNCER);
});

describe.each([
  { mode: "transaction", settings: { pool_mode: "transaction", default_pool_size: "2" } },
  { mode: "session", settings: { pool_mode: "session", default_pool_size: "20" } },
])("in $mode mode", ({ settings }) => {
  test("signals of several servers are stored once, also when its connections break", {
    timeout: TEST_TIMEOUT_MS,
  }, async () => {
    const { database, proxy, pooler } = await startPooled(settings);
    const servers = [];
    for (let count = 0; count < 2; count += 1) {
      servers.push(await ownServer(pooled(pooler.url), { DATABASE_POOL_SIZE: "5" }));
    }
    const senders = servers.flatMap(({ url }) => openSenders(url));
    onTestFinished(() => closeSenders(senders));
    const stream = streamSignals(senders, { lanesPerSender: 3, pauseMs: 5 });
    onTestFinished(() => stream.stop());
    await stream.begun(200);
    proxy.reset();
    await stream.begun(400);
    await stream.stop();

    // Each once more, by way of the other server.
    await deliver(stream.sent, senders.toReversed());
    const rows = await readRows(database.url);
    expect(brokenPromises(stream.sent, rows)).toEqual([]);
    expect(sortedRowKeys(rows)).toEqual(sortedKeys(stream.sent));
  });

  test("a setting of the role that would change what is stored is told by name", {
    timeout: TEST_TIMEOUT_MS,
  }, async () => {
    const { database, pooler } = await startPooled(settings);
    await hostile(database, "SET bytea_output = escape");
    const start = spawnServer(testServerEnv(pooled(pooler.url)));
    await expect(start).rejects.toThrow(/bytea_output is escape: set it to 'hex'/);
  });
});

test("a setting that is changed while the server runs makes it not ready", {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const { database, proxy, pooler } = await startPooled({ pool_mode: "transaction" });
  const server = await startTestServer(pooled(pooler.url));
  onTestFinished(() => server.close());
  await hostile(database, "SET array_nulls = off");
  // Sessions have what they began with.
  proxy.reset();
  const hasLine = () => JSON.stringify(server.logLines).includes("array_nulls is off");
  await eventually("it is logged", hasLine, 20_000);
  expect((await getJson(`${server.url}/api/v1/ready`)).status).toBe(503);
});

test("without being told of it, the server says at the start what to do", {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const { pooler } = await startPooled({ pool_mode: "transaction" });
  const start = spawnServer(testServerEnv(pooler.url));
  await expect(start).rejects.toThrow(/add pgbouncer=true to DATABASE_URL/);
});

async function hostile({ url, name }: TestDatabase, change: string): Promise<void> {
  await runOnServer(url, `ALTER DATABASE ${name} ${change}`);
}
