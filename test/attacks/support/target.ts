/**
 * A server in a process of its own, with both its ports, for the attacks of a file. After each of
 * them it still has to be the same process, to serve an honest producer in time, and to have
 * given nothing away.
 */
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { expectNoLeak } from "../../server/support/secrecy.ts";
import { bodies, send } from "../../server/support/wire.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../../support/server.ts";

/** Generous, since the machine may be busy; whoever is locked out waits for ever. */
const SERVED_WITHIN_MS = 10_000;

/** A server that is attacked. Can be used from the first test on. */
export interface Target {
  readonly databaseUrl: string;
  readonly server: ServerProcess;
  readonly url: string;
  readonly opsUrl: string;
  readonly sql: postgres.Sql;
  /** The whole lines of its log since it was ready, as they were written. */
  rawLines(): string[];
}

/** How a target is made. */
export interface TargetOptions {
  /** Is given the database before the server starts. */
  readonly prepare?: (databaseUrl: string) => Promise<void>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What must never be in its output, besides the secrets that every test has. */
  readonly secrets?: () => readonly string[];
}

/** Starts a server before the tests of a file, looks at it after each, and ends it after them. */
export function attackedServer({
  prepare = async () => {},
  env,
  secrets = () => [],
}: TargetOptions = {}): Target {
  const database = fileDatabase();
  let server: ServerProcess;
  let sql: postgres.Sql;
  let errors = "";
  let log = "";
  beforeAll(async () => {
    await prepare(database.url);
    server = await spawnServer(testServerEnv(database.url, { OPS_PORT: "0", ...env }));
    server.child.stderr?.on("data", (chunk: Buffer) => {
      errors += chunk.toString("utf8");
    });
    server.child.stdout?.on("data", (chunk: Buffer) => {
      log += chunk.toString("utf8");
    });
    sql = postgres(database.url, { max: 1 });
  });
  const rawLines = () => log.split("\n").slice(0, -1);
  const output = () => JSON.stringify(server.logLines()) + log + errors;
  afterEach(async () => {
    expect([server.child.exitCode, server.child.signalCode]).toEqual([null, null]);
    const startMs = performance.now();
    const answer = await send(server.url, "REST", bodies());
    expect(answer.error).toBeUndefined();
    expect(performance.now() - startMs).toBeLessThan(SERVED_WITHIN_MS);
    expectNoLeak(output(), database.url, secrets());
    expect(errors).toBe("");
  });
  afterAll(async () => {
    await sql.end();
    await server.stop();
  });
  return {
    get databaseUrl() {
      return database.url;
    },
    get server() {
      return server;
    },
    get url() {
      return server.url;
    },
    get opsUrl() {
      return String(server.opsUrl);
    },
    get sql() {
      return sql;
    },
    rawLines,
  };
}

/** What an attack must not add to. Attempts of proven tokens are audited, those of strangers are not. */
export async function rowCounts(sql: postgres.Sql): Promise<Readonly<Record<string, number>>> {
  const [row] = await sql`
    SELECT (SELECT count(*) FROM signals) AS signals,
      (SELECT count(*) FROM request_signatures) AS signatures,
      (SELECT count(*) FROM producers) AS producers,
      (SELECT count(*) FROM producer_secrets) AS secrets,
      (SELECT count(*) FROM access_tokens) AS tokens,
      (SELECT count(*) FROM audit_log WHERE reason IS NULL AND action NOT LIKE '%first_use') AS changes
  `;
  return Object.fromEntries(
    Object.entries(row ?? {}).map(([name, count]) => [name, Number(count)]),
  );
}

/** Makes an attack. @throws AssertionError if it left a row, whatever became of it. */
export async function expectNoRow(
  sql: postgres.Sql,
  attack: () => Promise<unknown>,
): Promise<void> {
  const before = await rowCounts(sql);
  await attack();
  expect(await rowCounts(sql)).toEqual(before);
}
