/**
 * Takes turns at rotating the master key of an embedded database, whose file two commands
 * could otherwise change at once.
 */
import type { Database } from "./database.ts";

/** Its own number, shared with nothing else. */
const LOCK_KEY = "4850289311207716";
const TIMEOUT_MS = 5_000;

/**
 * Takes the turn, or makes sure that this still has it. It ends with the connection, and so
 * needs a database with one connection that no PgBouncer shares out.
 *
 * @returns false if another one has it.
 * @throws StoreUnavailableError
 */
export async function takeKeyRotationTurn(database: Database): Promise<boolean> {
  const [row] = await database.query<{ readonly is_taken: boolean }>(
    TIMEOUT_MS,
    (sql) => sql`SELECT pg_try_advisory_lock(${LOCK_KEY}::bigint) AS is_taken`,
  );
  return row?.is_taken ?? false;
}
