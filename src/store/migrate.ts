/**
 * Brings the database's schema to the version of this code, and back.
 *
 * The migrations are the files `NNNN_name.up.sql` and `NNNN_name.down.sql` beside this
 * one. Each is sent together with the change of its row in `countersign_migrations` as one
 * message, which PostgreSQL runs as one transaction (documentation, section 55.2.2.1): it
 * happens wholly or not at all, whatever becomes of the connection. An advisory lock in
 * that message makes many processes that start at once take turns.
 */
import type { Logger } from "pino";
import {
  RerunBehavior,
  type RunnableMigration,
  Umzug,
  MigrationError as UmzugMigrationError,
} from "umzug";
import type { Database } from "./database.ts";
import { DURABLE_COMMIT } from "./durable.ts";
import { DatabaseError } from "./failure.ts";
import { ForeignObjectsError, findByName } from "./foreignObjects.ts";
import { assertMayServe, findMissingMigrationGrant, type ServingPlan } from "./grants.ts";
import { readCreatedObjects, readMigration, readMigrationNames } from "./migrationFiles.ts";
import {
  type MigrationRecord,
  PREPARE_RECORD_TABLE,
  RECORD_TABLE,
  readMigrationRecord,
} from "./migrationRecord.ts";
import { MissingGrantError } from "./missingGrantError.ts";

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

/** A migration waits for those that other processes run, and may take long on a full table. */
const MIGRATION_TIMEOUT_MS = 600_000;

/** Held while the schema changes. Its own number, shared with nothing else. */
const LOCK_KEY = "4850289311207714";

/** SQLSTATEs of our own: another process was faster. */
const ALREADY_APPLIED = "CS001";
const ALREADY_REVERTED = "CS002";

/**
 * Applies all migrations that are pending. Where none is, nothing is written, and the role
 * needs no right to.
 *
 * @returns the names of those that this call applied, in order. What another process
 *   applied at the same time is not among them.
 * @throws NewerDatabaseError
 * @throws MissingGrantError before anything is changed, as the next one.
 * @throws ForeignObjectsError if others have tables or functions by our names.
 * @throws StoreUnavailableError if a migration failed; those before it stay applied.
 */
export async function migrateUp(database: Database, log: Logger): Promise<string[]> {
  const { record, pending } = await findPending(database);
  if (pending.length === 0 && record.hasTable) return [];
  const missing = await findMissingGrant(database, record);
  if (missing !== undefined && pending.length === 0) return [];
  await assertMayMigrate(database, record, missing);
  await runScript(database, PREPARE_RECORD_TABLE);
  const changed: string[] = [];
  await unwrap(createUmzug(database, log, changed).up());
  return changed;
}

/**
 * Makes sure that a server may start on the schema: may migrate it, if that is needed, or
 * else serve. Changes nothing.
 *
 * @throws NewerDatabaseError
 * @throws MissingGrantError
 * @throws ForeignObjectsError
 * @throws StoreUnavailableError
 */
export async function assertMayStart(database: Database, plan: ServingPlan): Promise<void> {
  const { record, pending } = await findPending(database);
  if (pending.length === 0) {
    await assertMayServe(database, plan, MIGRATION_TIMEOUT_MS);
  } else {
    await assertMayMigrate(database, record, await findMissingGrant(database, record));
  }
}

/** @throws NewerDatabaseError */
async function findPending(
  database: Database,
): Promise<{ readonly record: MigrationRecord; readonly pending: readonly string[] }> {
  const record = await readKnownRecord(database);
  const names = await readMigrationNames();
  return { record, pending: names.filter((name) => !record.applied.has(name)) };
}

async function assertMayMigrate(
  database: Database,
  record: MigrationRecord,
  missing: string | undefined,
): Promise<void> {
  if (missing !== undefined) throw new MissingGrantError(missing);
  await refuseForeignObjects(database, record);
}

/**
 * Reverts the last migrations, and the data that only they can hold with them.
 *
 * @returns the names of those that this call reverted, in order.
 * @throws NewerDatabaseError
 * @throws MissingGrantError before anything is changed.
 * @throws RangeError if there is no such migration.
 * @throws StoreUnavailableError if a migration failed; those after it stay reverted.
 */
export async function migrateDown(
  database: Database,
  log: Logger,
  options: MigrateDownOptions = { steps: 1 },
): Promise<string[]> {
  const record = await readKnownRecord(database);
  const migrations = await selectForDown(record, options);
  if (migrations.length === 0) return [];
  const missing = await findMissingGrant(database, record);
  if (missing !== undefined) throw new MissingGrantError(missing);
  await runScript(database, PREPARE_RECORD_TABLE);
  const changed: string[] = [];
  await unwrap(createUmzug(database, log, changed).down({ migrations, rerun: RerunBehavior.SKIP }));
  return changed;
}

/** The applied migrations to revert, the last one first. */
async function selectForDown(
  record: MigrationRecord,
  options: MigrateDownOptions,
): Promise<string[]> {
  const applied = [...record.applied.keys()].reverse();
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
 * @throws MissingGrantError
 * @throws StoreUnavailableError
 */
export async function migrationStatus(database: Database): Promise<MigrationState[]> {
  const { applied } = await readMigrationRecord(database, MIGRATION_TIMEOUT_MS);
  const names = new Set([...(await readMigrationNames()), ...applied.keys()]);
  return [...names].sort().map((name) => ({ name, appliedAt: applied.get(name) }));
}

/** @throws NewerDatabaseError */
async function readKnownRecord(database: Database): Promise<MigrationRecord> {
  const known = new Set(await readMigrationNames());
  const record = await readMigrationRecord(database, MIGRATION_TIMEOUT_MS);
  const unknown = [...record.applied.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new NewerDatabaseError(unknown);
  }
  return record;
}

async function findMissingGrant(
  database: Database,
  { applied }: MigrationRecord,
): Promise<string | undefined> {
  const existing = await readCreatedObjects([...applied.keys()]);
  return findMissingMigrationGrant(database, existing, MIGRATION_TIMEOUT_MS);
}

/** @throws ForeignObjectsError if something by a name of a pending migration is there. */
async function refuseForeignObjects(database: Database, record: MigrationRecord): Promise<void> {
  const pending = (await readMigrationNames()).filter((name) => !record.applied.has(name));
  const own = new Set((await readCreatedObjects([...record.applied.keys()])).map(toKey));
  const wanted = (await readCreatedObjects(pending)).filter((object) => !own.has(toKey(object)));
  const { schema, found } = await findByName(database, wanted, MIGRATION_TIMEOUT_MS);
  if (found.length === 0) return;
  // Another process may have applied the migrations meanwhile. It did so together with their
  // rows, so if these are still not there, what was found is not ours.
  const newer = await readMigrationRecord(database, MIGRATION_TIMEOUT_MS);
  if (newer.applied.size === record.applied.size) throw new ForeignObjectsError(schema, found);
  await refuseForeignObjects(database, newer);
}

function toKey({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind} ${name}`;
}

function createUmzug(database: Database, log: Logger, changed: string[]): Umzug {
  return new Umzug({
    migrations: async () =>
      (await readMigrationNames()).map((name) => toMigration(name, database, log, changed)),
    storage: {
      executed: async () => {
        const { applied } = await readMigrationRecord(database, MIGRATION_TIMEOUT_MS);
        return [...applied.keys()];
      },
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
  const file = await readMigration(name, direction);
  const row = `(SELECT FROM ${RECORD_TABLE} WHERE name = '${name}')`;
  const [isDone, doneCode, recordChange] =
    direction === "up"
      ? [`EXISTS ${row}`, ALREADY_APPLIED, `INSERT INTO ${RECORD_TABLE} (name) VALUES ('${name}')`]
      : [
          `NOT EXISTS ${row}`,
          ALREADY_REVERTED,
          `DELETE FROM ${RECORD_TABLE} WHERE name = '${name}'`,
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

/** Runs several statements as one transaction, while no other process runs any. */
async function runScript(database: Database, script: string): Promise<void> {
  await database.query(MIGRATION_TIMEOUT_MS, (sql) =>
    sql.unsafe(
      `SET LOCAL lock_timeout = ${MIGRATION_TIMEOUT_MS};
      SET LOCAL statement_timeout = ${MIGRATION_TIMEOUT_MS};
      SELECT ${DURABLE_COMMIT};
      SELECT pg_advisory_xact_lock(${LOCK_KEY});
      ${script}`,
    ),
  );
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
