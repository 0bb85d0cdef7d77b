/**
 * Brings the database's schema to the version of this code, and back.
 *
 * The migrations are the files `NNNN_name.up.sql` and `NNNN_name.down.sql` beside this
 * one. Each is sent together with the change of its row in `schema_migrations` as one
 * message, which PostgreSQL runs as one transaction (documentation, section 55.2.2.1): it
 * happens wholly or not at all, whatever becomes of the connection. An advisory lock in
 * that message makes many processes that start at once take turns.
 */
import { readdir, readFile } from "node:fs/promises";
import type { Logger } from "pino";
import {
  RerunBehavior,
  type RunnableMigration,
  Umzug,
  MigrationError as UmzugMigrationError,
} from "umzug";
import type { Database } from "./database.ts";
import { DatabaseError } from "./failure.ts";

/** The state of one migration. */
export interface MigrationState {
  /** Such as `0001_producers`. */
  readonly name: string;
  /** When it was applied, by the database's clock; `undefined` if it is pending. */
  readonly appliedAt: Date | undefined;
}

/** How far to go back: a number of migrations, or the earliest one that is to be undone. */
export type MigrateDownOptions = { readonly steps: number } | { readonly to: string };

/** The database has migrations that this code does not know, so it belongs to a newer one. */
export class NewerDatabaseError extends Error {
  override readonly name = "NewerDatabaseError";
  /** The migrations that this code does not know. */
  readonly unknownMigrations: readonly string[];

  constructor(unknownMigrations: readonly string[]) {
    super(
      `The database was migrated by a newer version of this program (${unknownMigrations.join(", ")}). ` +
        "Run that version, or let it migrate the database down first.",
    );
    this.unknownMigrations = unknownMigrations;
  }
}

const MIGRATIONS_FOLDER = new URL("./migrations/", import.meta.url);

/** A migration waits for those that other processes run, and may take long on a full table. */
const MIGRATION_TIMEOUT_MS = 600_000;

/** Held while the schema changes. Its own number, shared with nothing else. */
const LOCK_KEY = "4850289311207714";

/** SQLSTATEs of our own: another process was faster. */
const ALREADY_APPLIED = "CS001";
const ALREADY_REVERTED = "CS002";

/**
 * Applies all migrations that are pending.
 *
 * @returns the names of those that this call applied, in order. What another process
 *   applied at the same time is not among them.
 * @throws NewerDatabaseError
 * @throws StoreUnavailableError if a migration failed; those before it stay applied.
 */
export async function migrateUp(database: Database, log: Logger): Promise<string[]> {
  await createMigrationsTable(database);
  const changed: string[] = [];
  const umzug = createUmzug(database, log, changed);
  await refuseNewer(database);
  await unwrap(umzug.up());
  return changed;
}

/**
 * Reverts the last migrations, and the data that only they can hold with them.
 *
 * @returns the names of those that this call reverted, in order.
 * @throws NewerDatabaseError
 * @throws RangeError if there is no such migration.
 * @throws StoreUnavailableError if a migration failed; those after it stay reverted.
 */
export async function migrateDown(
  database: Database,
  log: Logger,
  options: MigrateDownOptions = { steps: 1 },
): Promise<string[]> {
  await createMigrationsTable(database);
  const changed: string[] = [];
  const umzug = createUmzug(database, log, changed);
  await refuseNewer(database);
  const migrations = await selectForDown(database, options);
  await unwrap(umzug.down({ migrations, rerun: RerunBehavior.SKIP }));
  return changed;
}

/** The applied migrations to revert, the last one first. */
async function selectForDown(database: Database, options: MigrateDownOptions): Promise<string[]> {
  const applied = [...(await readAppliedMigrations(database)).keys()].reverse();
  if ("steps" in options) {
    return applied.slice(0, options.steps);
  }
  if (!(await readMigrationNames()).includes(options.to)) {
    throw new RangeError(`There is no migration ${options.to}`);
  }
  return applied.filter((name) => name >= options.to);
}

/**
 * All migrations, those of a newer version too, in order. Changes nothing.
 *
 * @throws StoreUnavailableError
 */
export async function migrationStatus(database: Database): Promise<MigrationState[]> {
  const applied = await readAppliedMigrations(database);
  const names = new Set([...(await readMigrationNames()), ...applied.keys()]);
  return [...names].sort().map((name) => ({ name, appliedAt: applied.get(name) }));
}

async function refuseNewer(database: Database): Promise<void> {
  const known = new Set(await readMigrationNames());
  const applied = await readAppliedMigrations(database);
  const unknown = [...applied.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new NewerDatabaseError(unknown);
  }
}

function createUmzug(database: Database, log: Logger, changed: string[]): Umzug {
  return new Umzug({
    migrations: async () =>
      (await readMigrationNames()).map((name) => toMigration(name, database, log, changed)),
    storage: {
      executed: async () => [...(await readAppliedMigrations(database)).keys()],
      // The migration's own transaction has already written the row.
      logMigration: async () => {},
      unlogMigration: async () => {},
    },
    logger: undefined,
  });
}

function toMigration(
  name: string,
  database: Database,
  log: Logger,
  changed: string[],
): RunnableMigration<object> {
  const change = async (direction: "up" | "down") => {
    if (await runMigration(database, name, direction)) {
      changed.push(name);
      log.info({ migration: name, direction }, "database migrated");
    }
  };
  return { name, up: () => change("up"), down: () => change("down") };
}

/** @returns false if another process was faster. */
async function runMigration(
  database: Database,
  name: string,
  direction: "up" | "down",
): Promise<boolean> {
  const file = await readFile(new URL(`${name}.${direction}.sql`, MIGRATIONS_FOLDER), "utf8");
  const row = `(SELECT FROM schema_migrations WHERE name = '${name}')`;
  const [isDone, doneCode, recordChange] =
    direction === "up"
      ? [
          `EXISTS ${row}`,
          ALREADY_APPLIED,
          `INSERT INTO schema_migrations (name) VALUES ('${name}')`,
        ]
      : [
          `NOT EXISTS ${row}`,
          ALREADY_REVERTED,
          `DELETE FROM schema_migrations WHERE name = '${name}'`,
        ];
  try {
    await runScript(
      database,
      `DO $$ BEGIN IF ${isDone} THEN RAISE 'already done' USING ERRCODE = '${doneCode}'; END IF; END $$;
      ${file};
      ${recordChange};`,
    );
    return true;
  } catch (error) {
    if (isDatabaseError(error, doneCode)) {
      return false;
    }
    throw error;
  }
}

/** Concurrent `CREATE TABLE IF NOT EXISTS` can fail, so this takes the lock too. */
async function createMigrationsTable(database: Database): Promise<void> {
  await runScript(
    database,
    `CREATE TABLE IF NOT EXISTS schema_migrations (
      name text COLLATE "C" PRIMARY KEY,
      applied_at timestamptz NOT NULL DEFAULT now()
    );`,
  );
}

/** Runs several statements as one transaction, while no other process runs any. */
async function runScript(database: Database, script: string): Promise<void> {
  await database.query(MIGRATION_TIMEOUT_MS, (sql) =>
    sql.unsafe(
      `SET LOCAL lock_timeout = ${MIGRATION_TIMEOUT_MS};
      SET LOCAL statement_timeout = ${MIGRATION_TIMEOUT_MS};
      SELECT pg_advisory_xact_lock(${LOCK_KEY});
      ${script}`,
    ),
  );
}

async function readAppliedMigrations(database: Database): Promise<Map<string, Date>> {
  const [table] = await database.query<{ readonly exists: boolean }>(
    MIGRATION_TIMEOUT_MS,
    (sql) => sql`SELECT to_regclass('schema_migrations') IS NOT NULL AS exists`,
  );
  if (!table?.exists) {
    return new Map();
  }
  const rows = await database.query<{ readonly name: string; readonly applied_at: Date }>(
    MIGRATION_TIMEOUT_MS,
    (sql) => sql`SELECT name, applied_at FROM schema_migrations ORDER BY name`,
  );
  return new Map(rows.map((row) => [row.name, row.applied_at]));
}

async function readMigrationNames(): Promise<string[]> {
  const suffix = ".up.sql";
  const files = await readdir(MIGRATIONS_FOLDER);
  return files
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
    .sort();
}

/** Gives the error that a migration threw instead of the one that umzug wraps it in. */
async function unwrap(run: Promise<unknown>): Promise<void> {
  try {
    await run;
  } catch (error) {
    throw error instanceof UmzugMigrationError && error.cause ? error.cause : error;
  }
}

function isDatabaseError(error: unknown, code: string): boolean {
  return (
    error instanceof Error && error.cause instanceof DatabaseError && error.cause.code === code
  );
}
