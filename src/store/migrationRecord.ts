/**
 * The table that says which migrations are applied.
 *
 * It was called `schema_migrations` once, as other programs call theirs, so that two programs
 * in one schema took each other's table for their own. A table by that name is ours if it has
 * our columns and our first migration; then it is renamed by whoever migrates next.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "./database.ts";
import { MissingGrantError, sqlStateOf } from "./failure.ts";

/** The table that says which migrations are applied. */
export const RECORD_TABLE = "countersign_migrations";
const FORMER_TABLE = "schema_migrations";

/** Which migrations a database has. */
export interface MigrationRecord {
  /** The migrations that are applied, with the times of the database's clock. */
  readonly applied: ReadonlyMap<string, Date>;
  /** Whether there is a table of today's name. */
  readonly hasTable: boolean;
}

/** A migration of every version, so the table has its name unless nothing was ever applied. */
const FIRST_MIGRATION = "0001_producers";

const UNDEFINED_TABLE = "42P01";
/** Another process may rename the table between two looks at it. */
const READ_ATTEMPTS_MAX = 5;
const READ_RETRY_INTERVAL_MS = 50;

/**
 * Reads it, and changes nothing.
 *
 * @throws MissingGrantError
 * @throws StoreUnavailableError
 */
export async function readMigrationRecord(
  database: Database,
  timeoutMs: number,
): Promise<MigrationRecord> {
  for (let attempt = 1; ; attempt += 1) {
    const table = await findTable(database, timeoutMs);
    if (table === undefined) return { applied: new Map(), hasTable: false };
    try {
      return await readTable(database, table, timeoutMs);
    } catch (error) {
      if (sqlStateOf(error) !== UNDEFINED_TABLE || attempt === READ_ATTEMPTS_MAX) throw error;
      await sleep(READ_RETRY_INTERVAL_MS);
    }
  }
}

/** @returns the name of the table that may be it; `undefined` if there is none. */
async function findTable(database: Database, timeoutMs: number): Promise<string | undefined> {
  const [found] = await database.query<FoundTable>(timeoutMs, (sql) =>
    sql.unsafe(`SELECT quote_ident(current_user) AS role, name, may_read FROM (
      SELECT CASE
        WHEN to_regclass('${RECORD_TABLE}') IS NOT NULL THEN '${RECORD_TABLE}'
        WHEN ${HAS_FORMER_COLUMNS} THEN '${FORMER_TABLE}'
      END AS name
    ) AS found, has_table_privilege(to_regclass(name), 'SELECT') AS may_read`),
  );
  // NULL says that the table is gone by that name, and nothing of its grants.
  if (found?.name && found.may_read === false) {
    throw new MissingGrantError(
      `The role ${found.role} may not read which migrations are applied. As the owner of the tables, run: GRANT SELECT ON ${found.name} TO ${found.role};`,
    );
  }
  return found?.name ?? undefined;
}

async function readTable(
  database: Database,
  name: string,
  timeoutMs: number,
): Promise<MigrationRecord> {
  const rows = await database.query<{ readonly name: string; readonly applied_at: Date }>(
    timeoutMs,
    (sql) => sql`SELECT name, applied_at FROM ${sql(name)} ORDER BY name`,
  );
  const applied = new Map(rows.map((row) => [row.name, row.applied_at]));
  const hasTable = name === RECORD_TABLE;
  const isOurs = hasTable || applied.has(FIRST_MIGRATION);
  return { applied: isOurs ? applied : new Map(), hasTable };
}

interface FoundTable {
  readonly role: string;
  readonly name: string | null;
  readonly may_read: boolean | null;
}

/** The columns that our table has always had, and no others. */
const HAS_FORMER_COLUMNS = `(
  SELECT array_agg(attname || ' ' || format_type(atttypid, NULL) ORDER BY attnum) = ARRAY[
    'name text', 'applied_at timestamp with time zone'
  ]
  FROM pg_attribute
  WHERE attrelid = to_regclass('${FORMER_TABLE}') AND attnum > 0 AND NOT attisdropped
) IS TRUE`;

/**
 * A script that gives the table its name, or makes it. To be run under the migrations' lock.
 *
 * While that was waited for, another process may have renamed the table. A session learns of
 * that when it opens a table, so it opens pg_class: to_regclass by itself would answer what it
 * did before.
 */
export const PREPARE_RECORD_TABLE = `DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('${RECORD_TABLE}')) THEN
    RETURN;
  END IF;
  IF ${HAS_FORMER_COLUMNS} THEN
    IF EXISTS (SELECT FROM ${FORMER_TABLE} WHERE name = '${FIRST_MIGRATION}') THEN
      ALTER TABLE ${FORMER_TABLE} RENAME TO ${RECORD_TABLE};
      ALTER INDEX IF EXISTS ${FORMER_TABLE}_pkey RENAME TO ${RECORD_TABLE}_pkey;
      RETURN;
    END IF;
  END IF;
  CREATE TABLE ${RECORD_TABLE} (
    name text COLLATE "C" PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
END
$$;`;
