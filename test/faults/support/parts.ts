/** What a test of faults works with, made for it alone and taken away when it ends. */
import { onTestFinished, type TestContext } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../support/postgres.ts";
import { type FaultyProxy, startProxy } from "../../support/proxy.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import { makeTestDataDir, removeTestDataDir } from "./embedded.ts";
import { closeSenders, openSenders, type Sender } from "./senders.ts";

/** Tells when a test has ended. Tests that run concurrently hand over their own context. */
export type Cleanup = Pick<TestContext, "onTestFinished">;

const CURRENT: Cleanup = { onTestFinished };

/** A migrated database without rows. */
export async function ownDatabase(test = CURRENT): Promise<TestDatabase> {
  const database = await createTestDatabase();
  test.onTestFinished(() => database.drop());
  return database;
}

/** A DATA_DIR; whatever PostgreSQL runs on it in the end is killed. */
export async function ownDataDir(test = CURRENT): Promise<string> {
  const dataDir = await makeTestDataDir();
  test.onTestFinished(() => removeTestDataDir(dataDir));
  return dataDir;
}

/** A proxy before a database. */
export async function ownProxy(databaseUrl: string, test = CURRENT): Promise<FaultyProxy> {
  const proxy = await startProxy(databaseUrl);
  test.onTestFinished(() => proxy.close());
  return proxy;
}

/** A server in this process. */
export async function ownServer(
  databaseUrl: string,
  overrides: Readonly<Record<string, string | undefined>> = {},
  test = CURRENT,
): Promise<TestServer> {
  const server = await startTestServer(databaseUrl, overrides);
  test.onTestFinished(() => server.close());
  return server;
}

/** One sender of each kind. */
export function ownSenders(serverUrl: string, test = CURRENT): Sender[] {
  const senders = openSenders(serverUrl);
  test.onTestFinished(() => closeSenders(senders));
  return senders;
}
