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
import type { Database } from "./database.ts";
import { MissingGrantError, sqlStateOf } from "./failure.ts";
import { ForeignObjectsError, findByName } from "./foreignObjects.ts";
import { assertMayServe, findMissingMigrationGrant } from "./grants.ts";
import { readCreatedObjects, readMigration, readMigrationNames } from "./migrationFiles.ts";
import {
  type MigrationRecord,
  PREPARE_RECORD_TABLE,
  RECORD_TABLE,
  readMigrationRecord,
} from "./migrationRecord.ts";
import { DURABLE_COMMIT } from "./session.ts";

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

/** A SQLSTATE of our own: another process was faster. */
const ALREADY_DONE = "CS001";

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
  if (pending.length > 0) {
    await assertMayMigrate(database, record);
  } else if (record.hasTable || (await findMissingGrant(database, record)) !== undefined) {
    // Only the owner of a table of the former name may rename it, and nobody needs that.
    return [];
  }
  await runScript(database, PREPARE_RECORD_TABLE);
  return runMigrations(database, log, pending, "up");
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
export async function assertMayStart(database: Database): Promise<void> {
  const { record, pending } = await findPending(database);
  if (pending.length === 0) {
    await assertMayServe(database, MIGRATION_TIMEOUT_MS);
  } else {
    await assertMayMigrate(database, record);
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

async function assertMayMigrate(database: Database, record: MigrationRecord): Promise<void> {
  await assertHasGrants(database, record);
  await refuseForeignObjects(database, record);
}

/** @throws MissingGrantError */
async function assertHasGrants(database: Database, record: MigrationRecord): Promise<void> {
  const missing = await findMissingGrant(database, record);
  if (missing !== undefined) throw new MissingGrantError(missing);
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
  await assertHasGrants(database, record);
  await runScript(database, PREPARE_RECORD_TABLE);
  return runMigrations(database, log, migrations, "down");
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

/** @returns the names of those that this call ran: another process may have been faster. */
async function runMigrations(
  database: Database,
  log: Logger,
  names: readonly string[],
  direction: "up" | "down",
): Promise<string[]> {
  const changed: string[] = [];
  for (const name of names) {
    if (await runMigration(database, name, direction)) {
      changed.push(name);
      log.info({ migration: name, direction }, "database migrated");
    }
  }
  return changed;
}

/** @returns false if another process was faster. */
async function runMigration(
  database: Database,
  name: string,
  direction: "up" | "down",
): Promise<boolean> {
  const file = await readMigration(name, direction);
  const isApplied = `EXISTS (SELECT FROM ${RECORD_TABLE} WHERE name = '${name}')`;
  const [isDone, recordChange] =
    direction === "up"
      ? [isApplied, `INSERT INTO ${RECORD_TABLE} (name) VALUES ('${name}')`]
      : [`NOT ${isApplied}`, `DELETE FROM ${RECORD_TABLE} WHERE name = '${name}'`];
  try {
    await runScript(
      database,
      `DO $$ BEGIN IF ${isDone} THEN RAISE 'already done' USING ERRCODE = '${ALREADY_DONE}'; END IF; END $$;
      ${file};
      ${recordChange};`,
    );
    return true;
  } catch (error) {
    if (sqlStateOf(error) === ALREADY_DONE) return false;
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
