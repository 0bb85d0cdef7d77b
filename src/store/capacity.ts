/** How much the database takes. */
import type { Database } from "./database.ts";

/**
 * How many connections the database lets ordinary users open at a time, all programs
 * together: all but those that it keeps for its administrators.
 *
 * @throws StoreUnavailableError
 */
export async function connectionLimit(database: Database, timeoutMs = 10_000): Promise<number> {
  const [row] = await database.query<{ limit: number }>(
    timeoutMs,
    (sql) => sql`
      SELECT current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer AS limit
    `,
  );
  return row?.limit ?? Number.POSITIVE_INFINITY;
}
