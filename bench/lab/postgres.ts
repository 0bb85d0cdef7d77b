/**
 * The one PostgreSQL of a benchmark, with the settings that Countersign's embedded server
 * has, and a fresh database for each run, so that every run meets a table of the same size.
 */
import { join } from "node:path";
import { pino } from "pino";
import postgres from "postgres";
import { migrateUp, openDatabase, startEmbeddedPostgres } from "../../src/store/index.ts";

const TEMPLATE = "bench_template";
const log = pino({ level: "silent" });

/** A database with Countersign's tables. */
export interface BenchDatabase extends AsyncDisposable {
  readonly url: string;
  /** The greatest sequence number of a signal, "0" if there is none. */
  lastSequence(): Promise<string>;
  /** How many signals were stored since. */
  rowsAfter(sequence: string): Promise<number>;
}

/** The server. */
export interface BenchPostgres extends AsyncDisposable {
  /** The main process; the process of each connection is a child of it. */
  readonly pid: number;
  /** Such as `18.4`. */
  readonly version: string;
  /** An empty database; disposing of it drops it. */
  createDatabase(): Promise<BenchDatabase>;
  /** Writes what earlier runs left to be written, so that the next one does not pay for it. */
  checkpoint(): Promise<void>;
}

/** Starts the server in a directory of its own. */
export async function startPostgres(dir: string): Promise<BenchPostgres> {
  await using parts = new AsyncDisposableStack();
  const embedded = await startEmbeddedPostgres({ dataDir: join(dir, "database"), log });
  parts.defer(() => embedded.close());
  const admin = postgres(embedded.url, { max: 1, onnotice: () => {} });
  parts.defer(() => admin.end({ timeout: 5 }));
  await makeTemplate(embedded.url, admin);
  const [facts] = await admin`
    SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer AS pid,
      current_setting('server_version') AS version
  `;
  let databases = 0;
  const moved = parts.move();

  return {
    pid: facts?.pid,
    version: facts?.version,
    async createDatabase() {
      databases += 1;
      const name = `bench_${databases}`;
      await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
      return benchDatabase(databaseUrl(embedded.url, name), () =>
        admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`),
      );
    },
    async checkpoint() {
      await admin`CHECKPOINT`;
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

async function makeTemplate(serverUrl: string, admin: postgres.Sql): Promise<void> {
  await admin.unsafe(`CREATE DATABASE ${TEMPLATE} TEMPLATE template0`);
  const database = openDatabase({ url: databaseUrl(serverUrl, TEMPLATE), poolSize: 1, log });
  await migrateUp(database, log);
  await database.close();
}

function benchDatabase(url: string, drop: () => Promise<unknown>): BenchDatabase {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  return {
    url,
    async lastSequence() {
      const [row] = await sql`SELECT coalesce(max(sequence), 0)::text AS last FROM signals`;
      return row?.last;
    },
    async rowsAfter(sequence) {
      const [row] = await sql`
        SELECT count(*)::integer AS rows FROM signals WHERE sequence > ${sequence}
      `;
      return row?.rows;
    },
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 5 });
      await drop();
    },
  };
}

function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
