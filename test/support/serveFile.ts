import postgres from "postgres";
import { afterAll, beforeAll } from "vitest";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";
import { startTestServer, type TestServer } from "./server.ts";

/** Makes a database for the tests of a file, and removes it after them. */
export function fileDatabase(): TestDatabase {
  const database = {} as TestDatabase;
  beforeAll(async () => {
    Object.assign(database, await createTestDatabase());
  });
  afterAll(() => database.drop());
  return database;
}

/** What the tests of a file share. Made by {@link serveFile}. */
export interface ServedFile {
  readonly database: TestDatabase;
  readonly server: TestServer;
  /** Asks the server's database. */
  readonly sql: postgres.Sql;
}

/**
 * Starts a server on a database of its own before the tests of a file, and ends it after
 * them. What is returned can be used from the first test on.
 *
 * @param prepare is given the database before the server starts.
 */
export function serveFile(
  overrides: Readonly<Record<string, string | undefined>> = {},
  prepare: (databaseUrl: string) => Promise<void> = async () => {},
): ServedFile {
  const database = fileDatabase();
  const served = { database } as { -readonly [Part in keyof ServedFile]: ServedFile[Part] };
  beforeAll(async () => {
    await prepare(database.url);
    served.server = await startTestServer(database.url, overrides);
    served.sql = postgres(database.url, { max: 1 });
  });
  afterAll(async () => {
    await served.sql.end();
    await served.server.close();
  });
  return served;
}
