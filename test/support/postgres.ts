/**
 * A real PostgreSQL for tests. `globalSetup.ts` starts one server for the whole run and
 * migrates one database; each test file gets a copy of that database for itself.
 */
import { randomUUID } from "node:crypto";
import { pino } from "pino";
import postgres from "postgres";
import { inject, onTestFinished, type TestContext } from "vitest";
import { watch } from "./secrecy/watch.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Connects to the test server as a user that may create databases. */
    postgresUrl: string;
    /** The database that is copied for each test file. */
    postgresTemplate: string;
  }
}

/** A logger that shows nothing, but whose lines are searched for secrets. */
export const silentLog = pino({ level: "trace" }, { write: (line) => watch("a log", line) });

export interface TestDatabase {
  readonly url: string;
  /** The database's name. */
  readonly name: string;
  /** Removes the database, whoever is still connected to it. */
  drop(): Promise<void>;
}

/**
 * Makes a database for one test file. Call it in `beforeAll` and `drop()` in `afterAll`.
 *
 * @param template `migrated` has the newest schema and no rows, `empty` has not even that.
 */
export async function createTestDatabase(
  template: "migrated" | "empty" = "migrated",
): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const source = template === "migrated" ? inject("postgresTemplate") : "template0";
  const serverUrl = inject("postgresUrl");
  await runOnServer(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${source}`);
  return {
    url: databaseUrl(serverUrl, name),
    name,
    drop: () => runOnServer(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** The same server's URL with another database. */
export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs one statement on a connection of its own. */
export async function runOnServer(url: string, statement: string): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} });
  try {
    await sql.unsafe(statement);
  } finally {
    await sql.end();
  }
}

/**
 * Holds every insert of a signal back until it is released, or the test ends.
 *
 * @param context the test's own, where tests run concurrently.
 * @param table another one.
 * @returns what releases them.
 */
export async function holdInserts(
  url: string,
  context: Pick<TestContext, "onTestFinished"> = { onTestFinished },
  table = "signals",
): Promise<() => Promise<void>> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} });
  context.onTestFinished(() => sql.end({ timeout: 1 }));
  await sql`BEGIN`;
  await sql`LOCK TABLE ${sql(table)} IN EXCLUSIVE MODE`;
  return async () => void (await sql`ROLLBACK`);
}
